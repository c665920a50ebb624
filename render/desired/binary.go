// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"encoding/base64"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render/check"
)

// contentOf a ConfigMap that holds training data is its text and what is none.
func contentOf(configMap *unstructured.Unstructured) map[string]string {
	encoded, _, err := unstructured.NestedStringMap(configMap.Object, "binaryData")
	if err != nil {
		return dataOf(configMap)
	}
	binary := map[string][]byte{}
	for key, text := range encoded {
		content, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err == nil { // decoding has said so
			binary[key] = content
		}
	}
	return check.WithBinary(dataOf(configMap), binary)
}
