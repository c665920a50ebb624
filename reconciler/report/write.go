// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/reconciler/markdown"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Error says in one sentence, free of secrets, why nothing was written. Its
// Reason is ReportConflict, AuthenticationFailed, SourceUnreachable or ReportFailed.
type Error = git.Error

// maxAttempts bounds how often a report is built anew on a branch that moves.
const maxAttempts = 6

// Target says where a report goes and in whose name.
type Target struct {
	// URL of the repository and Branch in it.
	URL, Branch string
	// Folder of the branch that the report goes to, where the branch holds other
	// things too. Empty: the branch is the report's alone, and made where it is not there.
	Folder string
	// Auth is the data of a Secret in Flux's form that may push; nil where there is none.
	Auth map[string][]byte
	// Author of the commits.
	Author v1alpha1.Author
	// Signer signs the commits; nil: nobody does.
	Signer git.Signer
	// Installation identifies this Espalier; Cluster is the name people gave it;
	// Namespace and Name are the RepoSync's. Together they own the branch.
	Installation, Cluster, Namespace, Name string
	// Revision that the report is about, for a trailer. Empty: no trailer.
	Revision string
	// Timeout bounds each word with the server; what is rendered meanwhile has the time that
	// it takes. 0: git.DefaultTimeout.
	Timeout time.Duration
}

// Result is what became of a write.
type Result struct {
	// Commit is the newest of the branch, 40 hex digits.
	Commit string
	// Changed is false where the branch held the files already.
	Changed bool
}

// Write makes the branch, or its folder, hold the files, with at most one commit. It
// makes the branch, without history, where it is not there and the report's alone. A
// branch that moved meanwhile is read again and the commit built anew on it.
//
// What book knows of the branch is not read again; nil knows nothing. It is brought up to
// date. The report is Write's from then on.
//
// Errors are *Error, or context.Canceled when ctx was.
func Write(ctx context.Context, t Target, book *Book, report Report, subject string) (Result, error) {
	w := &writer{Target: t, book: book, subject: subject, remote: git.Remote{URL: t.URL, Auth: t.Auth, Timeout: t.Timeout}}
	if err := w.take(report); err != nil {
		return Result{}, err
	}
	result, err := w.write(ctx)
	var known *Error
	switch {
	case err == nil, errors.As(err, &known):
		return result, err
	case errors.Is(ctx.Err(), context.Canceled):
		return result, context.Canceled
	}
	return result, w.remote.Errorf(v1alpha1.ReasonReportFailed, "Writing branch %s of %s ended with: %v", t.Branch, w.remote.Address(), err)
}

type writer struct {
	Target
	book    *Book
	subject string
	remote  git.Remote
	report  Report
}

// owner is the file that says whose a branch is.
type owner struct {
	Format       int    `yaml:"format"`
	Installation string `yaml:"installation"`
	Cluster      string `yaml:"cluster"`
	Namespace    string `yaml:"namespace"`
	RepoSync     string `yaml:"reposync"`
}

// take checks the files, and adds the one that says whose the branch is.
func (w *writer) take(report Report) error {
	if w.Installation == "" {
		return w.remote.Errorf(v1alpha1.ReasonReportFailed, "The controller does not know which installation it is, so it cannot tell its branch from another's")
	}
	others := make(map[string]File, len(report.others)+1)
	for path, file := range report.others {
		if !fs.ValidPath(path) || !repolayout.IsStatusPath(path) || path == repolayout.StatusOwnerFile {
			return w.remote.Errorf(v1alpha1.ReasonReportFailed, "A report may not write %q", path)
		}
		others[path] = file
	}
	mark := owner{Format: 1, Installation: w.Installation, Cluster: w.Cluster, Namespace: w.Namespace, RepoSync: w.Name}
	others[repolayout.StatusOwnerFile] = fileOf(append([]byte("# Whose report this is. Espalier writes over none that another installation has marked.\n"), encode(mark)...))
	w.report, w.report.others = report, others
	return nil
}

// attempt is one push that did not end well.
type attempt struct {
	base, made string
	err        error
}

// settle says whether the write ends, and how, now that the branch was read again
// after this attempt. The zero attempt is the one before the first.
func (a attempt) settle(branch *git.Branch, err error) (result Result, settled bool, _ error) {
	switch {
	case err != nil && a.err != nil:
		return Result{}, true, a.err // the first says more than what follows from it
	case err != nil:
		return Result{}, true, err
	case a.err != nil && branch.Hash == a.made:
		return Result{Commit: a.made, Changed: true}, true, nil // only the answer was lost
	case a.err != nil && branch.Hash == a.base && !busy(a.err):
		return Result{}, true, a.err // nobody was in the way: it is the push itself
	}
	return Result{}, false, nil
}

func (w *writer) write(ctx context.Context) (Result, error) {
	var last attempt
	for n := range maxAttempts {
		if n > 0 && pause(ctx, n) != nil {
			return Result{}, last.err
		}
		branch, err := w.remote.Branch(ctx, w.Branch, w.book.of(w.Target))
		if result, settled, err := last.settle(branch, err); settled {
			return result, err
		}
		result, made, err := w.commit(ctx, branch)
		if err == nil {
			return result, w.book.note(w.Target, branch, w.report)
		}
		if made == "" || errors.Is(err, git.ErrRefused) {
			w.book.forget() // what it knows may be why
		}
		var failure *Error
		if made == "" || !errors.As(err, &failure) || failure.Reason == v1alpha1.ReasonAuthFailed {
			return Result{}, err
		}
		last = attempt{base: branch.Hash, made: made, err: err}
	}
	advice := "give each RepoSync a branch of its own"
	if w.Folder != "" {
		advice = "it is tried again; where that is often so, raise report.commit.minInterval, or let the report have a branch of its own"
	}
	return Result{}, w.remote.Errorf(v1alpha1.ReasonReportFailed,
		"Branch %s of %s moved %d times while a report was written: %s", w.Branch, w.remote.Address(), maxAttempts, advice)
}

// commit puts the files on a branch. made is the commit that was to be pushed.
func (w *writer) commit(ctx context.Context, branch *git.Branch) (result Result, made string, err error) {
	if err := w.mayWrite(branch); err != nil {
		return Result{}, "", err
	}
	change, err := w.compare(branch)
	if err != nil {
		return Result{}, "", err
	}
	message, err := w.message(change)
	if err != nil {
		return Result{}, "", err
	}
	files, gone := w.placed(change)
	made, changed, err := branch.Commit(git.Change{
		Files: files, Gone: gone, Message: message,
		Name: orElse(w.Author.Name, "Espalier"), Email: orElse(w.Author.Email, "espalier@localhost"), When: time.Now(),
		Signer: w.Signer,
	})
	switch {
	case err != nil:
		return Result{}, "", err
	case !changed:
		return Result{Commit: branch.Hash}, "", nil
	}
	if err := branch.Push(ctx); err != nil {
		return Result{}, made, err
	}
	return Result{Commit: made, Changed: true}, made, nil
}

// at is the place of a file of the report on the branch.
func (w *writer) at(name string) string { return path.Join(w.Folder, name) }

// owns says whether a path of the branch is the report's.
func (w *writer) owns(name string) bool {
	if w.Folder != "" {
		var within bool
		if name, within = strings.CutPrefix(name, w.Folder+"/"); !within {
			return false
		}
	}
	return repolayout.IsStatusPath(name)
}

// placed are what is new, and what is gone, by their place on the branch.
func (w *writer) placed(d difference) (files map[string]func() []byte, gone []string) {
	files = make(map[string]func() []byte, len(d.new))
	for name, file := range d.new {
		files[w.at(name)] = file.Content
	}
	for _, name := range d.gone {
		gone = append(gone, w.at(name))
	}
	return files, gone
}

// where names what is written to, as a person would.
func (w *writer) where() string {
	if w.Folder == "" {
		return fmt.Sprintf("Branch %s of %s", w.Branch, w.remote.Address())
	}
	return fmt.Sprintf("Folder %s of branch %s of %s", w.Folder, w.Branch, w.remote.Address())
}

// mayWrite refuses a branch, or a folder, that is not this RepoSync's.
func (w *writer) mayWrite(branch *git.Branch) error {
	if branch.Hash == "" {
		return w.mayMake()
	}
	advice := "name another in spec.report.commit.branch, or delete this one"
	if w.Folder != "" {
		advice = "name another in spec.report.commit.path, or delete this one"
		if isNew, err := w.isNew(branch); isNew || err != nil {
			return err
		}
	}
	content, err := branch.Tree.ReadFile(w.at(repolayout.StatusOwnerFile))
	if err != nil {
		return w.remote.Errorf(v1alpha1.ReasonReportConflict, "%s was not made by Espalier and is left alone: %s", w.where(), advice)
	}
	var o owner
	if yaml.Unmarshal(content, &o) != nil || o.Format != 1 || o.Installation == "" {
		return w.remote.Errorf(v1alpha1.ReasonReportConflict,
			"%s has a %s that cannot be read, so it is left alone: %s", w.where(), repolayout.StatusOwnerFile, advice)
	}
	return w.owned(o, advice)
}

// owned refuses what is another's.
func (w *writer) owned(o owner, advice string) error {
	if o.Installation == w.Installation && o.Namespace == w.Namespace && o.RepoSync == w.Name {
		return nil
	}
	whose := "another installation"
	if o.Installation == w.Installation {
		whose = "this installation"
	}
	return w.remote.Errorf(v1alpha1.ReasonReportConflict,
		"%s is written by RepoSync %s/%s of cluster %s (%s): %s",
		w.where(), markdown.Clean(o.Namespace, 63), markdown.Clean(o.RepoSync, 63), markdown.Clean(o.Cluster, 63), whose, advice)
}

// isNew says whether the folder is not there yet, and refuses one that lies in
// another's report, which would be deleted by that.
func (w *writer) isNew(branch *git.Branch) (bool, error) {
	for above := w.Folder; above != "."; {
		above = path.Dir(above)
		if _, err := branch.Tree.Stat(path.Join(above, repolayout.StatusOwnerFile)); err == nil {
			return false, w.remote.Errorf(v1alpha1.ReasonReportConflict, "%s lies in the report that folder %s holds: name another in spec.report.commit.path", w.where(), above)
		}
	}
	_, err := branch.Tree.Stat(w.Folder)
	return errors.Is(err, fs.ErrNotExist), nil
}

// mayMake says whether a branch that is not there may be made: that of a report
// alone. One that people work on would begin without anything of theirs.
func (w *writer) mayMake() error {
	if w.Folder == "" {
		return nil
	}
	return w.remote.Errorf(v1alpha1.ReasonReportFailed,
		"Branch %s of %s is not there, and a report makes no branch that holds other things: push it first", w.Branch, w.remote.Address())
}

// busy says that a server refused because somebody else was pushing just then,
// so that the branch may still look unmoved.
func busy(err error) bool {
	return errors.Is(err, git.ErrRefused) && strings.Contains(err.Error(), "lock")
}

// pause waits longer with each try, about 50 ms to 1.6 s, and not in step with others.
func pause(ctx context.Context, n int) error {
	base := 25 * time.Millisecond << n
	timer := time.NewTimer(base + rand.N(base)) //nolint:gosec // it keeps writers out of step and protects nothing
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
