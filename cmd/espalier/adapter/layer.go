// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"archive/tar"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is the tar of an adapter, written anew each time it is read, so that
// weights of any size need neither memory nor a second file on disk.
//
// It is not compressed: weights hardly shrink, and a compressor of another
// version would give the same adapter another digest.
type layer struct {
	files  adapterFiles
	digest v1.Hash
	size   int64 // bytes
}

// newLayer reads the files once to know the digest.
func newLayer(f adapterFiles) (*layer, error) {
	l := &layer{files: f}
	r, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	l.digest, l.size, err = v1.SHA256(r)
	if err != nil {
		return nil, fmt.Errorf("packing the adapter: %w", err)
	}
	return l, nil
}

// Digest, Size, MediaType and Compressed make it a layer of
// go-containerregistry; compressed there means as it is sent.

// Digest is the digest of the tar.
func (l *layer) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID is the same: the tar is sent as it is.
func (l *layer) DiffID() (v1.Hash, error) { return l.digest, nil }

// Size is that of the tar in bytes.
func (l *layer) Size() (int64, error) { return l.size, nil }

// MediaType is that of an uncompressed layer.
func (l *layer) MediaType() (types.MediaType, error) { return types.OCIUncompressedLayer, nil }

// Compressed is the tar.
func (l *layer) Compressed() (io.ReadCloser, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(l.files.pack(w)) }()
	return r, nil
}

// pack writes both files, sorted by name, of one owner, mode and time.
func (f adapterFiles) pack(w io.Writer) error {
	archive := tar.NewWriter(w)
	if err := archive.WriteHeader(header(configFile, int64(len(f.config)))); err != nil {
		return err
	}
	if _, err := archive.Write(f.config); err != nil {
		return err
	}
	if err := archive.WriteHeader(header(weightsFile, f.weights.size)); err != nil {
		return err
	}
	weights, err := os.Open(f.weights.path)
	if err != nil {
		return err
	}
	defer weights.Close()
	if _, err := io.Copy(archive, weights); err != nil {
		return err
	}
	return archive.Close()
}

func header(name string, size int64) *tar.Header {
	return &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: epoch.Time, Format: tar.FormatUSTAR,
	}
}
