// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ErrSameImage says that a file names an image already.
var ErrSameImage = errors.New("it is there already")

// SetAdapterImage writes an image by digest in the place of the adapter from the
// same repository, in the Workspace that stands at a line of a file. Every other
// byte stays as it is: comments, order and quotes. The error says why that cannot
// be done; ErrSameImage where there is nothing to do. Where named has a name, the
// document has that, and the namespace too if it has one.
func SetAdapterImage(file string, text []byte, line int, named types.NamespacedName, image string) ([]byte, error) {
	offset := 0
	for _, d := range Split(file, text) {
		at := bytes.Index(text[offset:], d.Text)
		if at < 0 {
			break
		}
		offset += at
		if last := d.first + bytes.Count(d.Text, []byte("\n")); line < d.first || line > last {
			offset += len(d.Text)
			continue
		}
		edited, err := d.setAdapterImage(named, image)
		if err != nil {
			return nil, err
		}
		return bytes.Join([][]byte{text[:offset], edited, text[offset+len(d.Text):]}, nil), nil
	}
	return nil, fmt.Errorf("%s has no document at line %d", file, line)
}

func (d *Document) setAdapterImage(named types.NamespacedName, image string) ([]byte, error) {
	if kind, _ := d.Identity(); kind != v1alpha1.WorkspaceKind || !strings.HasPrefix(d.APIVersion(), v1alpha1.Group+"/") {
		return nil, fmt.Errorf("the document is of %s, and not a Workspace of %s", d.APIVersion(), v1alpha1.Group)
	}
	if !d.isNamed(named) {
		return nil, fmt.Errorf("the document is of another name than Workspace %s", named)
	}
	found, err := d.adapterImage(ImageRepository(image))
	if err != nil {
		return nil, err
	}
	if found.Value == image {
		return nil, ErrSameImage
	}
	start, err := d.offset(found)
	if err != nil {
		return nil, err
	}
	edited := bytes.Join([][]byte{d.Text[:start], []byte(image), d.Text[start+len(found.Value):]}, nil)
	again := newDocument(d.file, edited, d.first)
	if is := again.node(); is == nil || !onlyDiffers(d.node(), is, found, image) {
		return nil, errors.New("the value is written in a way that only a person should change")
	}
	return edited, nil
}

// isNamed says whether a document is of a Workspace, as far as it says that by itself.
func (d *Document) isNamed(named types.NamespacedName) bool {
	_, name := d.Identity()
	namespace := scalarAt(child(d.node(), "metadata"), "namespace")
	return named.Name == "" || name == named.Name && (namespace == "" || namespace == named.Namespace)
}

// adapterImage is the one image among the adapters that comes from a repository.
func (d *Document) adapterImage(repository string) (*yaml.Node, error) {
	var found *yaml.Node
	for i := range maxAdapters {
		_, value, whole := follow(d.node(), finding.Index("spec.inference.adapters", i)+".image")
		if !whole || value.Kind != yaml.ScalarNode || ImageRepository(value.Value) != repository {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("the document has two adapters from %s", repository)
		}
		found = value
	}
	if found == nil {
		return nil, fmt.Errorf("the document names no adapter from %s: it comes from a patch, or from another file", repository)
	}
	return found, nil
}

// offset is where the characters of a scalar begin in the text, behind its quote.
func (d *Document) offset(n *yaml.Node) (int, error) {
	rest, start := d.Text, 0
	for range n.Line - 1 {
		i := bytes.IndexByte(rest, '\n') + 1
		rest, start = rest[i:], start+i
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(rest)
		rest, start = rest[size:], start+size
	}
	if n.Style == yaml.SingleQuotedStyle || n.Style == yaml.DoubleQuotedStyle {
		rest, start = rest[min(1, len(rest)):], start+1
	}
	if !bytes.HasPrefix(rest, []byte(n.Value)) {
		return 0, errors.New("the value is written in a way that only a person should change")
	}
	return start, nil
}

// onlyDiffers says whether two trees are the same but for one node, which has
// become a value.
func onlyDiffers(a, b, node *yaml.Node, value string) bool {
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) || a.Anchor != b.Anchor {
		return false
	}
	want := a.Value
	if a == node {
		want = value
	}
	if b.Value != want {
		return false
	}
	for i := range a.Content {
		if !onlyDiffers(a.Content[i], b.Content[i], node, value) {
			return false
		}
	}
	return true
}
