// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"iter"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/reconciler/git"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Memory keeps what the files of Workspaces were when they were rendered last, by
// their hashes. The zero value remembers nothing yet. It belongs to one goroutine.
type Memory struct {
	files  map[types.NamespacedName]*remembered
	prices map[string]*big.Rat // that are said, nil where they are none
	draft  uint                // how often it was asked
}

// remembered are the files of a Workspace of a version, and what the README says of it.
// But for its last two fields it is not changed once it is made.
type remembered struct {
	key         types.NamespacedName
	uid         types.UID
	version     string
	text, badge git.Hash
	says        said
	sum         uint64 // of both files, with their names

	pays bool     // for nodes that it holds
	pool uint64   // sum of what it pays for, maybe with others
	usd  *big.Rat // an hour, of its own pool; nil: not known, or it shares one

	row   string // of the table, where it has one
	draft uint   // that last had it
}

func (m *Memory) remember(key types.NamespacedName, w *v1alpha1.Workspace) *remembered {
	known := m.files[key]
	if known != nil && known.uid == w.UID && known.version == w.ResourceVersion && w.ResourceVersion != "" {
		return known
	}
	d := newDocument(w)
	known = &remembered{key: key, uid: w.UID, version: w.ResourceVersion, text: git.HashOf(encode(d)), badge: git.HashOf(badgeOf(w)), says: saidBy(d)}
	known.sum = sumOf(key.Namespace, key.Name, string(known.text[:]), string(known.badge[:]))
	if known.pays = holdsNodes(w); known.pays {
		known.pool = paidFor(w)
		if _, shared := SharedPool(w); !shared && w.Status.Sizing != nil {
			known.usd = m.price(w.Status.Sizing.USDPerHour)
		}
	}
	m.files[key] = known
	return known
}

// maxPrices bounds those that are remembered: a catalogue has a few hundred.
const maxPrices = 4096

// price reads a price once, however many say it.
func (m *Memory) price(text string) *big.Rat {
	usd, known := m.prices[text]
	if known {
		return usd
	}
	usd, _ = Price(text)
	if m.prices == nil || len(m.prices) == maxPrices {
		m.prices = map[string]*big.Rat{}
	}
	m.prices[text] = usd
	return usd
}

// Draft is a report whose files are not laid out yet: most are the same as the last.
type Draft struct {
	of     Snapshot
	files  []*remembered       // of the Workspaces, in their order
	shared map[uint64]*big.Rat // prices of pools that are shared, nil where not known
	readme File
	sum    uint64
}

// Draft is the report of a snapshot. Only Workspaces that have changed since the last
// time are rendered for their hash; a content that is asked for is rendered then.
func (m *Memory) Draft(s Snapshot) *Draft {
	byName := func(a, b *v1alpha1.Workspace) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	}
	if !slices.IsSortedFunc(s.Workspaces, byName) {
		s.Workspaces = slices.SortedFunc(slices.Values(s.Workspaces), byName)
	}
	if m.files == nil {
		m.files = make(map[types.NamespacedName]*remembered, len(s.Workspaces))
	}
	m.draft++
	d := &Draft{of: s, files: make([]*remembered, len(s.Workspaces)), shared: m.sharedPrices(s.Pools)}
	for i, w := range s.Workspaces {
		known := m.remember(types.NamespacedName{Namespace: w.Namespace, Name: w.Name}, w)
		known.draft = m.draft
		d.files[i] = known
		d.sum += known.sum
	}
	if len(m.files) > len(s.Workspaces) {
		maps.DeleteFunc(m.files, func(_ types.NamespacedName, known *remembered) bool { return known.draft != m.draft })
	}
	d.readme = fileOf(d.writeReadme())
	d.sum += sumOf(string(d.readme.Hash[:]))
	return d
}

// Digest identifies what a report says, in this process.
func (d *Draft) Digest() string { return strconv.FormatUint(d.sum, 16) }

// Report is the files. Nobody changes the Workspaces of the Snapshot before.
func (d *Draft) Report() Report {
	return Report{rows: d.files, of: d.of.Workspaces, others: map[string]File{repolayout.StatusReadme: d.readme}}
}

// Report is the files of a status branch. Those of Workspaces are laid out as they are
// asked for: of a fleet few have changed.
type Report struct {
	rows   []*remembered         // of Workspaces, by namespace and name
	of     []*v1alpha1.Workspace // these
	others map[string]File       // by path
}

// File is one file of a Report: what Git knows its content by, and how to have it. The
// text of thousands would be held for the few that are written.
type File struct {
	Hash git.Hash

	of     *v1alpha1.Workspace // that it tells of
	render func(*v1alpha1.Workspace) []byte
	says   *said // of a document; nil of others
}

// Content of the file. Nobody changes the Workspaces of the Snapshot before.
func (f File) Content() []byte { return f.render(f.of) }

// fileOf is a file of a content.
func fileOf(text []byte) File {
	return File{Hash: git.HashOf(text), render: func(*v1alpha1.Workspace) []byte { return text }}
}

// files are all of them by their path.
func (r Report) files() iter.Seq2[string, File] {
	return func(yield func(string, File) bool) {
		for path, file := range r.others {
			if !yield(path, file) {
				return
			}
		}
		for i, row := range r.rows {
			if !yield(row.document(), r.document(i)) || !yield(row.picture(), r.picture(i)) {
				return
			}
		}
	}
}

func (r Report) document(i int) File { return File{r.rows[i].text, r.of[i], textOf, &r.rows[i].says} }

func (r Report) picture(i int) File { return File{r.rows[i].badge, r.of[i], badgeOf, nil} }

// document and picture are the paths of the files.
func (k *remembered) document() string { return repolayout.StatusFile(k.key.Namespace, k.key.Name) }

func (k *remembered) picture() string { return repolayout.StatusBadge(k.key.Namespace, k.key.Name) }
