// SPDX-License-Identifier: Apache-2.0

package chats

import (
	"bytes"
	"testing"
)

// TestParquet: the file is one, its rows come back as they were, and less than all of
// it is refused.
func TestParquet(t *testing.T) {
	rows := Rows(300)
	content, err := Parquet(rows)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(content, []byte("PAR1")) || !bytes.HasSuffix(content, []byte("PAR1")) {
		t.Errorf("it begins with %q and ends with %q, want PAR1", content[:4], content[len(content)-4:])
	}
	back, err := ReadParquet(content)
	if err != nil || Lines(back) != Lines(rows) {
		t.Errorf("%d rows came back of %d, or others: %v", len(back), len(rows), err)
	}
	for name, bad := range map[string][]byte{"CutShort": content[:len(content)/2], "Lines": []byte(Lines(rows)), "Empty": nil} {
		if _, err := ReadParquet(bad); err == nil {
			t.Errorf("%s: it was read as Parquet", name)
		}
	}
}
