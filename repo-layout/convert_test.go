// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

func TestConvertKeepsComments(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		in, want string
	}{
		"KAITO": {
			reason: "Comments move with the field they stand at; those of fields without a counterpart are lost.",
			in: `# Tuned on dolly, see issue 12.
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata:
  name: phi # keep this name
resource:
  # The smallest that works.
  instanceType: Standard_NC24ads_A100_v4
  count: 1 # lost
  labelSelector:
    matchLabels: {apps: phi}
tuning:
  preset:
    name: phi-4 # the small one
  method: QLoRA
  input:
    urls:
    # the first file
    - https://data.example.com/1
    - https://data.example.com/2 # the second
  output:
    image: registry.example.com/models/phi:1
    # rotated monthly
    imagePushSecret: push
`,
			want: `# Tuned on dolly, see issue 12.
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: phi # keep this name
spec:
  resource:
    # The smallest that works.
    instanceType: Standard_NC24ads_A100_v4
    labelSelector:
      matchLabels:
        apps: phi
  tuning:
    input:
      urls:
      # the first file
      - https://data.example.com/1
      - https://data.example.com/2 # the second
    method: qlora
    output:
      image: registry.example.com/models/phi:1
      # rotated monthly
      pushSecret: push
    preset: phi-4 # the small one
`,
		},
		"Native": {
			reason: "A native document comes out as it went in, with its keys in order.",
			in: `# a comment
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: phi
spec:
  resource: # where
    instanceType: A100
  inference:
    preset: phi-4
    replicas: 2 # two
`,
			want: `# a comment
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: phi
spec:
  inference:
    preset: phi-4
    replicas: 2 # two
  resource: # where
    instanceType: A100
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, findings, err := repolayout.Convert([]byte(c.in), nil)
			if err != nil || len(findings) > 0 {
				t.Fatalf("%v, %v", lines(findings), err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
	if text, findings, err := repolayout.Convert([]byte("a: ["), nil); text != nil || len(findings) != 1 || err != nil {
		t.Errorf("what is no YAML gives %q, %v, %v", text, lines(findings), err)
	}
}
