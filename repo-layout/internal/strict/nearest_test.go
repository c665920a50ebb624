// SPDX-License-Identifier: Apache-2.0

package strict

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		name   string
		known  []string
		want   string
	}{
		"Case":      {"the same but for case comes first", "instancetype", []string{"instanceTypes", "instanceType"}, "instanceType"},
		"Letter":    {"one letter away", "cuont", []string{"count", "config"}, "count"},
		"Part":      {"a part of the name", "volume", []string{"image", "urls", "volumeSource"}, "volumeSource"},
		"Whole":     {"the longest known name within it", "imagePushSecret", []string{"image", "pushSecret"}, "pushSecret"},
		"Far":       {"nothing is near", "preferredNodes", []string{"count", "instanceType"}, ""},
		"ShortPart": {"three letters are in many names", "url", []string{"curlImage"}, ""},
		"None":      {"nothing is known", "a", nil, ""},
		"Empty":     {"an empty key", "", []string{"count"}, ""},
		"Huge":      {"a megabyte costs no time", strings.Repeat("x", 1<<20), []string{"count"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Nearest(c.name, c.known); got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

func TestAdvice(t *testing.T) {
	long := strings.Split("a b c d e f g h i j k l m n", " ")
	for _, c := range []struct {
		reason string
		known  []string
		want   string
	}{
		{"the nearest is named", []string{"count"}, "did you mean count?"},
		{"else what is known, sorted", []string{"zones", "image"}, "known are image, zones"},
		{"a long list is cut", long, "remove it; known are a, b, c, d, e, f, g, h, i, j, k, l and 2 more"},
		{"nothing is known", nil, "remove it"},
	} {
		if got := Advice("conut", c.known); got != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestMeant(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		name   string
		known  []string
		want   string
	}{
		"Case":      {"the same but for case, however short", "QLoRA", []string{"lora", "qlora"}, "qlora"},
		"Swapped":   {"two letters the other way round", "cuont", []string{"config", "count"}, "count"},
		"Missing":   {"a letter short", "instancType", []string{"instanceType"}, "instanceType"},
		"TooMany":   {"a letter too many", "replicass", []string{"replicas"}, "replicas"},
		"Changed":   {"another letter", "inferense", []string{"inference"}, "inference"},
		"Two":       {"two slips may be another word", "cuomt", []string{"count"}, ""},
		"Both":      {"two names are as near", "mode", []string{"model", "code"}, ""},
		"Part":      {"a part of a name is advice, and not certain", "volume", []string{"volumeSource"}, ""},
		"Short":     {"a slip of three letters is another word", "mib", []string{"mig"}, ""},
		"SwappedAt": {"the last two letters", "countre", []string{"counter"}, "counter"},
		"Nothing":   {"nothing is known", "count", nil, ""},
		"Empty":     {"an empty key", "", []string{"count"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Meant(c.name, c.known); got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}
