// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/reconciler/review"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
)

// headCommand is the name of the command below.
const headCommand = "review-head"

// newReviewHeadCommand is what the review controller starts for each head of a
// pull request: it reads a question and commits from stdin, and writes the verdict
// to stdout. It has no network, no credential and no cluster.
func newReviewHeadCommand() *cobra.Command {
	var memory string
	var seconds uint64
	command := &cobra.Command{
		Use: headCommand, Hidden: true, Args: cobra.NoArgs,
		Short: "Plan one head of a pull request; the review controller starts it",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := limitProcess(memory, seconds); err != nil {
				return err
			}
			return reviewHead(c.Context(), c.InOrStdin(), c.OutOrStdout())
		},
	}
	command.Flags().StringVar(&memory, "memory", "", "Bytes of memory to get along with")
	command.Flags().Uint64Var(&seconds, "seconds", 0, "Seconds of processors to get along with")
	return command
}

// softLimit makes the collector work harder before the kernel says no.
func softLimit(memory string) error {
	bytes, err := strconv.ParseInt(memory, 10, 64)
	if err != nil {
		return fmt.Errorf("--memory %q: want a number of bytes", memory)
	}
	debug.SetMemoryLimit(bytes * 3 / 4)
	return nil
}

// maxQuestion bounds a question without its commits, in bytes.
const maxQuestion = 16 << 20

// ask writes a question and its commits, for reviewHead.
func ask(w io.Writer, q review.Question, commits *git.Commits) error {
	text, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("writing the question: %w", err)
	}
	if len(text) > maxQuestion {
		return fmt.Errorf("the RepoSync takes %d bytes", len(text))
	}
	out := bufio.NewWriterSize(w, 1<<16)
	if err := binary.Write(out, binary.BigEndian, int64(len(text))); err != nil {
		return fmt.Errorf("writing the question: %w", err)
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("writing the question: %w", err)
	}
	if err := commits.Encode(out); err != nil {
		return err
	}
	return out.Flush()
}

func reviewHead(ctx context.Context, in io.Reader, out io.Writer) error {
	in = bufio.NewReaderSize(in, 1<<16)
	var size int64
	if err := binary.Read(in, binary.BigEndian, &size); err != nil || size < 0 || size > maxQuestion {
		return errors.New("there is no question on stdin: the review controller asks one")
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return fmt.Errorf("reading the question: %w", err)
	}
	var q review.Question
	if err := json.Unmarshal(text, &q); err != nil {
		return fmt.Errorf("reading the question: %w", err)
	}
	commits, err := git.DecodeCommits(in, git.DefaultMaxBytes)
	if err != nil {
		return err
	}
	verdict, err := judgeHead(ctx, q, commits)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(verdict); err != nil {
		return fmt.Errorf("writing the verdict: %w", err)
	}
	return nil
}

// judgeHead plans both commits. What cannot be built at all is a verdict too.
func judgeHead(ctx context.Context, q review.Question, commits *git.Commits) (review.Verdict, error) {
	var trees [2]tree
	var objects [2]*git.Tree
	for i, side := range []struct{ name, hash string }{{q.BaseName, q.Base}, {q.HeadName, q.Head}} {
		commit, err := commits.Commit(side.hash)
		if err != nil {
			return review.Verdict{}, err
		}
		trees[i], objects[i] = tree{name: side.name, commit: side.hash, files: commit.Tree}, commit.Tree
	}
	r := &revisions{base: trees[0], head: trees[1]}
	k := kept{judge: &desired.Judge{Region: q.Program.Region, Render: q.Program.Render}, builds: build.NewCache(build.CacheLimits{})}
	proposed := syncOfHead(q.Sync, r)
	base, baseGone, err := r.base.side(ctx, k, q.Sync, "")
	if err != nil { // not the fault of this pull request, and in its way all the same
		return review.Fail(err.Error()), nil
	}
	head, headGone, err := r.head.side(ctx, k, proposed.sync, "")
	if err != nil {
		return review.Fail(err.Error()), nil
	}
	if baseGone && headGone {
		return review.Fail(fmt.Sprintf("neither revision holds the folder %q", q.Sync.Spec.Path)), nil
	}
	head.State.Verdicts = append(head.State.Verdicts, proposed.broken...)
	head.SyncGone, head.SyncUnlisted, head.SyncElse = proposed.gone, proposed.unlisted, proposed.others
	head.Quota = q.Quota
	compared := plan.Compare(base, head)
	verdict := review.Conclude(compared, q.Limit)
	if q.Sync.Spec.Review != nil {
		verdict.Lines = review.OnLines(compared, *q.Sync.Spec.Review, review.Files{Base: objects[0], Head: objects[1], Renamed: func() map[string]string {
			renamed, _ := git.Renamed(ctx, objects[0], objects[1]) // without it they count as new
			return renamed
		}})
	}
	return verdict, nil
}
