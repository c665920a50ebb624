// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/desired"
)

// TestBinaryData: a generator puts what is no text under binaryData, and the pod sees
// it as a file beside the others.
func TestBinaryData(t *testing.T) {
	judged := func(data string) desired.Workspace {
		s := state(t, newJudge(), nil, fstest.MapFS{
			"rows.yaml": file("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: rows}\n" + data),
			"tune.yaml": file(`apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: tune}
spec:
  resource: {instanceType: Standard_NC24ads_A100_v4}
  tuning:
    preset: phi-4-mini-instruct
    method: qlora
    input: {files: [{configMap: rows}]}
    output: {claim: adapters}
`),
		})
		return s.Workspaces[0]
	}
	const text = "data: {a.jsonl: '{}'}\n"
	both := judged(text + "binaryData: {b.parquet: AAEC}\n")
	if diff := cmp.Diff([]string{"a.jsonl", "b.parquet"}, both.Assessment.DataFiles); diff != "" {
		t.Errorf("files that are trained on (-want +got):\n%s", diff)
	}
	if alone := judged("binaryData: {b.parquet: AAEC}\n"); alone.Assessment.Refused() || !slices.Equal(alone.Assessment.DataFiles, []string{"b.parquet"}) {
		t.Errorf("without text: %v, files %v", alone.Assessment.Findings, alone.Assessment.DataFiles)
	}
	if other := judged(text + "binaryData: {b.parquet: AAED}\n"); other.Assessment.Resolved.Digest == both.Assessment.Resolved.Digest {
		t.Error("other content is no other run")
	}
	if wrapped := judged(text + "binaryData:\n  b.parquet: |\n    AA\n    EC\n"); wrapped.Assessment.Resolved.Digest != both.Assessment.Resolved.Digest {
		t.Error("the same content in two lines is another run")
	}
}
