// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/test/gitserver"
)

// FuzzBy reads signatures as anybody who may push can write them: each ends in a
// verdict, and none that nobody made is taken.
func FuzzBy(f *testing.F) {
	data, signers := map[string][]byte{}, []Signer{}
	for name, newKey := range map[string]func() (gitserver.Key, error){
		"a.asc": func() (gitserver.Key, error) { return gitserver.PGPKey("Ada", "") }, "a.sshpub": func() (gitserver.Key, error) { return gitserver.SSHKey("") },
	} {
		key, err := newKey()
		if err != nil {
			f.Fatal(err)
		}
		data[name] = []byte(key.Public)
		entry := map[string]string{"a.asc": entryPGPKey, "a.sshpub": entrySSHKey}[name]
		signer, err := SignerOf(map[string][]byte{entry: []byte(key.Private)})
		if err != nil {
			f.Fatal(err)
		}
		signers = append(signers, signer)
	}
	keys, err := KeysOf(data)
	if err != nil {
		f.Fatal(err)
	}
	for _, signer := range signers {
		text, err := signer.Sign(strings.NewReader("something else"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "tree 1")
	}
	f.Add("-----BEGIN PGP SIGNATURE-----\n\n=\n-----END PGP SIGNATURE-----", "")
	f.Add("-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----", "x")
	f.Fuzz(func(t *testing.T, text, payload string) {
		if payload == "something else" {
			return
		}
		if by, err := (Signed{signature: text, payload: []byte(payload)}).By(keys); err == nil {
			t.Errorf("it was taken for signed by %s", by)
		}
	})
}

// FuzzKeysOf reads public keys as somebody pastes them.
func FuzzKeysOf(f *testing.F) {
	key, err := gitserver.PGPKey("Ada", "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a.asc", []byte(key.Public))
	f.Add("a.sshpub", []byte("ssh-ed25519 AAAA\n"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		keys, err := KeysOf(map[string][]byte{name: content})
		if err == nil && len(keys.pgp)+len(keys.ssh) == 0 {
			t.Error("a Secret without a key was taken")
		}
	})
}

// FuzzPack feeds packs as a hostile server may send them: what is taken is what its hash
// says, no more than may be, and what go-git reads where it can.
func FuzzPack(f *testing.F) {
	const limit = 1 << 20
	f.Add(packOf(3, []byte("abc")))
	f.Add(packOf(1<<40, []byte("abc")))
	for _, write := range []func(p *packing){
		func(p *packing) { p.blob("a"); p.on("a", "b"); p.onThe(1, "ab", "c"); p.blob("a") },
		func(p *packing) { p.on("a", "b"); p.onThe(0, "ab", "c"); p.blob("a"); p.on("held", "x") },
	} {
		p := &packing{}
		write(p)
		f.Add(p.pack())
	}
	held := record{plumbing.ComputeHash(plumbing.BlobObject, []byte("held")), plumbing.BlobObject, []byte("held")}
	under := (&shelf{}).with(&pile{records: []record{held}})
	f.Fuzz(func(t *testing.T, pack []byte) {
		came := pile{}
		size, err := unpack(bytes.NewReader(pack), &came, under, limit)
		for _, r := range came.records {
			if plumbing.ComputeHash(r.kind, r.content) != r.hash {
				t.Errorf("%s is not the hash of %q", r.hash, r.content)
			}
		}
		if came.coming() > limit || err == nil && came.coming() > size {
			t.Errorf("%d bytes were taken, and %d counted", came.coming(), size)
		}
		if err != nil {
			return
		}
		if want, err := parsed(pack, []record{held}); err == nil {
			got := contents(came.records)
			delete(got, held.hash.String())
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-go-git +got):\n%s", d)
			}
		}
	})
}

// FuzzTree reads folders as a hostile server may send them, as go-git does.
func FuzzTree(f *testing.F) {
	hash := strings.Repeat("h", 20)
	f.Add([]byte("100644 a\x00" + hash + "40000 b\x00" + hash + "120000 c\x00" + hash + "160000 d\x00" + hash))
	f.Add([]byte("100755 .\x00" + hash))
	f.Add([]byte("100664 a\x00" + hash + "100644 a\x00" + hash))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, content []byte) {
		var got []object.TreeEntry
		var failed error
		for e, err := range entriesOf(content) {
			if failed = err; err == nil {
				got = append(got, object.TreeEntry{Mode: e.mode, Name: string(e.name), Hash: e.hash})
			}
		}
		tree := &object.Tree{}
		err := tree.Decode(record{kind: plumbing.TreeObject, content: content}.encoded())
		if (err == nil) != (failed == nil) {
			t.Fatalf("got %v, and go-git says %v", failed, err)
		}
		if d := cmp.Diff(tree.Entries, got); err == nil && d != "" {
			t.Errorf("(-go-git +got):\n%s", d)
		}
		d, _ := decoded(content)
		for i, n := range d {
			if !fs.ValidPath(n.name) || i > 0 && d[i-1].name >= n.name {
				t.Errorf("%q is not to be there", n.name)
			}
		}
	})
}
