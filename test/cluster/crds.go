// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// crdManager owns the fields of the CRDs that InstallCRDs applies.
const crdManager = "espalier-test-cluster"

// InstallCRDs applies every CustomResourceDefinition of a folder's *.yaml files
// and returns once the API server serves them all.
func InstallCRDs(ctx context.Context, cfg *rest.Config, folder string) error {
	client, err := apiextensions.NewForConfig(cfg)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no CustomResourceDefinition in %s: run `make generate`", folder)
	}
	crds := client.ApiextensionsV1().CustomResourceDefinitions()
	var names []string
	for _, file := range files {
		name, body, err := readCRD(file)
		if err != nil {
			return err
		}
		force := true
		_, err = crds.Patch(ctx, name, types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: crdManager, Force: &force})
		if err != nil {
			return fmt.Errorf("applying %s: %w", file, err)
		}
		names = append(names, name)
	}
	for _, name := range names {
		err := poll(ctx, func(ctx context.Context) (bool, error) {
			crd, err := crds.Get(ctx, name, metav1.GetOptions{})
			return err == nil && established(crd), nil
		})
		if err != nil {
			return fmt.Errorf("waiting for %s to be served: %w", name, err)
		}
	}
	return nil
}

func readCRD(file string) (name string, body []byte, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	var crd metav1.PartialObjectMetadata
	if err := yaml.Unmarshal(data, &crd); err != nil {
		return "", nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if crd.Kind != "CustomResourceDefinition" || crd.Name == "" {
		return "", nil, fmt.Errorf("reading %s: %w", file, errors.New("not one CustomResourceDefinition"))
	}
	body, err = yaml.YAMLToJSON(data)
	return crd.Name, body, err
}

func established(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	})
}
