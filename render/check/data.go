// SPDX-License-Identifier: Apache-2.0

package check

import (
	"encoding/base64"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Format is what a row of the training data is: as the Workspace or its
// configuration says, else a conversation in the column messages.
func (a Assessment) Format() v1alpha1.DataFormat {
	if f := a.Training.Format; f != nil {
		return *f
	}
	return v1alpha1.DataFormat{Type: v1alpha1.RowsChat}
}

// format takes what the Workspace says of the rows, which the configuration must
// not say as well.
func (c *checker) format() {
	own := c.workspace.Spec.Tuning.Input.Format
	if own == nil {
		return
	}
	if c.out.Training.Format != nil {
		c.refuse(ConfigInvalid, "spec.tuning.input.format", "DatasetConfig of the ConfigMap names columns too: keep one of them")
	}
	c.out.Training.Format = own
}

// plainText says that rows are what lines of a file of text are.
func (c *checker) plainText() bool {
	f := c.out.Format()
	name, renamed := f.Columns.Named()["text"]
	return f.Type == v1alpha1.RowsText && (!renamed || name == "text")
}

// data checks the files of a URL list by their names.
func (c *checker) data() {
	t := c.workspace.Spec.Tuning
	if t == nil {
		return
	}
	seen := map[string]bool{}
	c.keyFiles("spec.tuning.input.files", t.Input.Files)
	c.files("spec.tuning.input.urls", t.Input.URLs, seen)
	if t.Evaluation != nil {
		c.files("spec.tuning.evaluation.urls", t.Evaluation.URLs, seen)
	}
}

// files checks addresses by the names of their files, of which each is one of its own.
func (c *checker) files(list string, addresses []string, seen map[string]bool) {
	for i, address := range addresses {
		field := indexed(list, i)
		name := FileName(address)
		switch {
		case name == "":
			c.refuse(InputInvalid, field, "the address names no file")
		case c.refusedFile(field, name):
		case seen[name]:
			c.refuse(InputInvalid, field, "another address names a file %s too", name)
		case !checksum.MatchString(address):
			c.refuse(InputInvalid, field, "%s: after # there can only be the checksum of the file: sha256= and 64 hexadecimal digits", name)
		}
		seen[name] = true
	}
}

// WithBinary is the content of a ConfigMap with what is no text in it: that is base64,
// behind a word that tells it from text. Keys are of one or the other.
func WithBinary(data map[string]string, binary map[string][]byte) map[string]string {
	if len(binary) == 0 {
		return data
	}
	all := make(map[string]string, len(data)+len(binary))
	maps.Copy(all, data)
	for key, content := range binary {
		all[key] = "base64 " + base64.StdEncoding.EncodeToString(content)
	}
	return all
}

// refusedFile refuses a file whose name does not say that it holds rows.
func (c *checker) refusedFile(field, name string) bool {
	switch DataType(name) {
	case "":
		c.refuse(InputInvalid, field, "%s: the end of the name does not say what it holds; known are %s", name, strings.Join(extensions(), ", "))
	case textType:
		if c.plainText() {
			return false
		}
		c.refuse(InputInvalid, field, "%s", c.textRefused(name))
	default:
		return false
	}
	return true
}

// keyFiles checks the files that keys of ConfigMaps and Secrets become, as far as
// the keys are known.
func (c *checker) keyFiles(list string, sources []v1alpha1.FileSource) {
	var all []string
	known := true
	for i, source := range sources {
		field := indexed(list, i)
		names, ok := c.keysOf(source, field)
		known = known && ok
		for _, name := range names {
			switch {
			case c.refusedFile(field, name):
			case slices.Contains(all, name):
				c.refuse(InputInvalid, field, "another key becomes a file %s too", name)
			}
			all = append(all, name)
		}
	}
	if known {
		c.out.DataFiles = all
	}
}

// keysOf are the files that one ConfigMap or Secret brings; false where they are not
// known.
func (c *checker) keysOf(source v1alpha1.FileSource, field string) ([]string, bool) {
	data, held := c.facts.ConfigMaps[source.ConfigMap]
	var names []string
	for _, item := range source.Items {
		if _, has := data[item.Key]; held && !has {
			c.refuse(InputMissing, field+".items", "ConfigMap %q has no key %s", source.ConfigMap, item.Key)
		}
		names = append(names, item.Path)
	}
	if len(source.Items) > 0 || !held || source.ConfigMap == "" {
		return names, len(source.Items) > 0
	}
	if len(data) == 0 {
		c.refuse(InputMissing, field, "ConfigMap %q holds nothing", source.ConfigMap)
	}
	return slices.Sorted(maps.Keys(data)), true
}

// checksum matches an address without a fragment, or with one that `espalier
// data fetch` holds the file to.
var checksum = regexp.MustCompile(`(?i)^[^#]*(#sha256=[0-9a-f]{64})?$`)

// FileName is the name that a downloaded file gets: the last part of the path.
// It is "" where that is no plain name.
func FileName(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	name := path.Base(u.Path)
	plain := strings.IndexFunc(name, func(r rune) bool {
		return r != '-' && r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
	if !plain || strings.HasPrefix(name, ".") {
		return ""
	}
	return name
}

// dataTypes are the kinds of files that the data set library loads by name.
var dataTypes = map[string]string{
	".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv", ".arrow": "arrow", ".txt": textType,
}

// textType is the kind of a file of lines.
const textType = "text"

// DataType is the kind of a data file by the end of its name, "" unknown.
func DataType(name string) string { return dataTypes[strings.ToLower(path.Ext(name))] }

func extensions() []string { return []string{".parquet", ".json", ".jsonl", ".csv", ".arrow", ".txt"} }
