// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"path"
	"strings"
)

// account is the user and group that distroless images call nonroot, and that
// deploy/base runs the controller as.
const account = 65532

// Folders of the image, without the leading slash, as a layer names them.
const (
	programs = "usr/local/bin"
	home     = "home/nonroot"
)

// accounts are /etc/passwd and /etc/group: some libraries look the user up.
var accounts = map[string]string{
	"etc/group":  fmt.Sprintf("root:x:0:\nnonroot:x:%d:\n", account),
	"etc/passwd": fmt.Sprintf("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/%s:/sbin/nologin\n", account, account, home),
}

// archive is the layer: entries in a fixed order, of a fixed time, each below
// folders that were named before.
func archive(name string, binary []byte) ([]byte, error) {
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	for _, e := range []struct {
		tar.Header
		content []byte
	}{
		{Header: directory("etc", 0o755)},
		{Header: file("etc/group", 0o644), content: []byte(accounts["etc/group"])},
		{Header: file("etc/passwd", 0o644), content: []byte(accounts["etc/passwd"])},
		{Header: directory("home", 0o755)},
		{Header: owned(directory(home, 0o700))},
		{Header: directory("tmp", 0o1777)},
		{Header: directory("usr", 0o755)},
		{Header: directory("usr/local", 0o755)},
		{Header: directory(programs, 0o755)},
		{Header: file(path.Join(programs, name), 0o755), content: binary},
	} {
		e.Size = int64(len(e.content))
		if err := w.WriteHeader(&e.Header); err != nil {
			return nil, fmt.Errorf("packing %s: %w", e.Name, err)
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, fmt.Errorf("packing %s: %w", e.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing: %w", err)
	}
	return content.Bytes(), nil
}

func directory(name string, mode int64) tar.Header {
	return tar.Header{
		Typeflag: tar.TypeDir, Name: strings.TrimSuffix(name, "/") + "/", Mode: mode, ModTime: epoch, Format: tar.FormatUSTAR,
	}
}

func file(name string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, ModTime: epoch, Format: tar.FormatUSTAR}
}

// owned gives an entry to the account.
func owned(h tar.Header) tar.Header {
	h.Uid, h.Gid = account, account
	return h
}
