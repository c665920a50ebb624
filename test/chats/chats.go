// SPDX-License-Identifier: Apache-2.0

// Package chats makes the data that tests train on: small conversations, as lines of
// JSON and as a Parquet file, in the columns that a run of type Chat reads. The file
// is written by a library that others read with too, and is read back by it; what
// pyarrow reads of it, `make e2e-train` shows.
package chats

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// Row is one conversation.
type Row struct {
	Messages []Message `json:"messages" parquet:"messages,list"`
}

// Message is what one of the two says.
type Message struct {
	Role    string `json:"role" parquet:"role"`
	Content string `json:"content" parquet:"content"`
}

// Rows are n conversations, no two alike.
func Rows(n int) []Row {
	rows := make([]Row, n)
	for i := range rows {
		rows[i].Messages = []Message{
			{Role: "user", Content: fmt.Sprintf("Where is parcel %d?", i)},
			{Role: "assistant", Content: "Let me look."},
		}
	}
	return rows
}

// JSON is the row as a line of a .jsonl file, without its end.
func (r Row) JSON() []byte {
	text, _ := json.Marshal(r) // texts alone: it cannot fail
	return text
}

// Lines are the rows as a .jsonl file.
func Lines(rows []Row) string {
	var text strings.Builder
	for _, r := range rows {
		text.Write(r.JSON())
		text.WriteByte('\n')
	}
	return text.String()
}

// Parquet is the rows as a .parquet file.
func Parquet(rows []Row) ([]byte, error) {
	var content bytes.Buffer
	if err := parquet.Write(&content, rows, parquet.Compression(&parquet.Snappy)); err != nil {
		return nil, fmt.Errorf("writing Parquet: %w", err)
	}
	return content.Bytes(), nil
}

// ReadParquet returns the rows of a .parquet file. One that is cut short has no
// footer, and is refused.
func ReadParquet(content []byte) ([]Row, error) {
	rows, err := parquet.Read[Row](bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, fmt.Errorf("reading Parquet: %w", err)
	}
	return rows, nil
}
