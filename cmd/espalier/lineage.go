// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/espalier-dev/espalier/cmd/espalier/adapter"
	"github.com/espalier-dev/espalier/cmd/espalier/data"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// lineage is where the annotations of an adapter come from.
type lineage struct {
	given          []string // KEY=VALUE; no StringToString: it splits values at commas
	data, revision string
}

func (l *lineage) bindFlags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&l.given, "annotation", nil, "Annotation KEY=VALUE of the image; may be given several times")
	fs.StringVar(&l.data, "data", "", "Folder of the training data, whose SHA-256 become annotations of the image; empty: none do")
	fs.StringVar(&l.revision, "revision", "", "Revision of the repository, main@sha1:HEX, whose commit becomes annotation "+repolayout.AnnotationCommit+"; empty: none does")
}

// annotations of the image. Data that cannot be read, or is too much to be read while a GPU
// waits, is not named: the adapter was paid for, and is published all the same.
func (l *lineage) annotations(c *cobra.Command) (map[string]string, error) {
	pairs := map[string]string{}
	for _, arg := range l.given {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--annotation %q: want KEY=VALUE", arg)
		}
		pairs[key] = value
	}
	if commit := repolayout.CommitOf(l.revision); commit != "" {
		pairs[repolayout.AnnotationCommit] = commit
	}
	if l.data == "" {
		return pairs, nil
	}
	sums, err := sumsWithin(c.Context(), l.data, sumFor)
	if c.Context().Err() != nil {
		return nil, c.Context().Err()
	}
	if err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "espalier: the image does not say which data it was trained on: %v\n", err)
		return pairs, nil
	}
	maps.Copy(pairs, adapter.Trained(sums))
	return pairs, nil
}

// sumFor is how long the data is read for its sums: GPUs are paid for meanwhile, and a share
// may be slow.
const sumFor = time.Minute

// sumsWithin are the sums of a folder that is read in that time.
func sumsWithin(ctx context.Context, dir string, within time.Duration) (map[string]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("it could not be read within %s", within))
	defer cancel()
	sums, err := data.Sums(ctx, dir)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return sums, err
}
