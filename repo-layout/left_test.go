// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// share is what a kubelet keeps of the message of one of nine containers: the six of a
// run that measures tasks, and three of a mesh and of a patch.
const share = 12 << 10 / 9

func TestLeft(t *testing.T) {
	most := Left{Adapter: "registry.example.com/a/team/with/a/long/name/of/a/repository@sha256:" + strings.Repeat("0123", 16), Evaluation: &v1alpha1.EvaluationStatus{LossBefore: "1.8312", LossAfter: "1.2107"}}
	for _, of := range strings.Fields("biology business chemistry computer_science economics engineering health history law math other philosophy physics psychology abstract_algebra anatomy") {
		most.Evaluation.Tasks = append(most.Evaluation.Tasks, v1alpha1.TaskScore{
			Name: "mmlu_pro_plus_generative_" + of, Metric: "exact_match,custom-extract", Before: "0." + digits(of), After: "0." + digits(of+"x"),
		})
	}
	for name, c := range map[string]struct {
		reason string
		left   Left
		plain  bool
	}{
		"Adapter": {"kubectl describe shows it, and a controller that is older reads it.", Left{Adapter: most.Adapter}, true},
		"Why":     {"It is for people.", Left{Why: strings.Repeat("the registry said no, ", 35)}, true},
		"Most":    {"The numbers of as many tasks as there may be, with the digest of an adapter that was paid for.", most, false},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := c.left.Message()
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > share {
				t.Errorf("%s %d bytes are cut to %d", c.reason, len(text), share)
			}
			if plain := !strings.Contains(string(text), `"packed"`); plain != c.plain {
				t.Errorf("%s Got %s", c.reason, text)
			}
			if got, ok := ReadLeft(string(text)); !ok || !reflect.DeepEqual(got, c.left) {
				t.Errorf("%s Read back as %+v", c.reason, got)
			}
		})
	}
}

// digits are four that depend on a text.
func digits(of string) string {
	sum := 7
	for _, r := range of {
		sum = (sum*31 + int(r)) % 9000
	}
	text, _ := json.Marshal(sum + 1000)
	return string(text)
}

func TestReadLeftHostile(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, _ = w.Write([]byte(`{"why":"` + strings.Repeat("a", 1<<20) + `"}`))
	_ = w.Close()
	large, err := json.Marshal(packed{bomb.Bytes()})
	if err != nil {
		t.Fatal(err)
	}
	for name, message := range map[string]string{
		"Nothing": "", "Text": "Traceback (most recent call last)", "Cut": `{"adapter":"registry.exam`, "Number": "1",
		"NotPacked": `{"packed":"AAAA"}`, "CutPacked": string(large[:40]) + `"}`, "TooLarge": string(large),
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := ReadLeft(message); ok {
				t.Errorf("read as %d bytes", len(got.Why))
			}
		})
	}
}
