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
		left     []string
	}{
		"KAITO": {
			reason: "Comments move with the field they stand at; those of fields without a counterpart are named.",
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
    name: data # a name
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
			left: []string{
				"15: warning: tuning.method: read as qlora, and better written so: KAITO accepts QLoRA and then runs something else (NotOneOf)",
				"9: warning: the comment is left out, since its field has no counterpart: # lost (NotConverted)",
				"17: warning: the comment is left out, since its field has no counterpart: # a name (NotConverted)",
				"17: warning: tuning.input.name is left out: it names a container in KAITO (NotConverted)",
			},
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
			got, findings, err := repolayout.Convert([]byte(c.in), repolayout.Split("f.yaml", []byte(c.in))[0])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.left, lines(findings)); diff != "" {
				t.Errorf("%s\nwhat is left out, -want +got:\n%s", c.reason, diff)
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
