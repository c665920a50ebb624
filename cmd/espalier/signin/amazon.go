// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-containerregistry/pkg/authn"
)

// amazon asks ECR, in the region of the registry, for a token of the pod's role.
func (i Identity) amazon(ctx context.Context, host string) (authn.AuthConfig, error) {
	config := aws.Config{Region: regionOf(host), HTTPClient: i.client(false)}
	config.Credentials = i.role(config)
	answer, err := ecr.NewFromConfig(config).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		err = fmt.Errorf("asking for a token of ECR: %w", err)
		var said smithy.APIError
		if errors.As(err, &said) && said.ErrorFault() == smithy.FaultClient {
			err = &RefusedError{err}
		}
		return authn.AuthConfig{}, err
	}
	if len(answer.AuthorizationData) == 0 {
		return authn.AuthConfig{}, errors.New("ECR answers with no token")
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(answer.AuthorizationData[0].AuthorizationToken))
	user, password, ok := strings.Cut(string(text), ":")
	if err != nil || !ok {
		return authn.AuthConfig{}, errors.New("ECR answers with no token")
	}
	return authn.AuthConfig{Username: user, Password: password}, nil
}

// regionOf is that of ID.dkr.ecr.REGION.amazonaws.com.
func regionOf(host string) string { return strings.Split(host, ".")[3] }

// role is that of the ServiceAccount, by a web identity (IRSA) or the agent of EKS Pod
// Identity; never that of the node.
func (i Identity) role(config aws.Config) aws.CredentialsProvider {
	if arn, file := os.Getenv("AWS_ROLE_ARN"), os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"); arn != "" && file != "" {
		return stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(config), arn, stscreds.IdentityTokenFile(file), func(o *stscreds.WebIdentityRoleOptions) {
			o.RoleSessionName = "espalier"
		})
	}
	return endpointcreds.New(os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"), func(o *endpointcreds.Options) {
		o.HTTPClient = i.client(true)
		o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
			token, err := os.ReadFile(os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
			return strings.TrimSpace(string(token)), err
		})
	})
}
