// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"

	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Question asks for the plan of a pull request.
type Question struct {
	// Sync is the RepoSync as the cluster has it.
	Sync *v1alpha1.RepoSync `json:"sync"`
	// Base and Head are the commits that are compared, and BaseName and HeadName
	// what people call them.
	Base     string `json:"base"`
	Head     string `json:"head"`
	BaseName string `json:"baseName"`
	HeadName string `json:"headName"`
	// Program is how the plan is made.
	Program Program `json:"program"`
	// Quota is what the cloud listed, as the main controller published it; nil: it
	// did not.
	Quota *quota.Snapshot `json:"quota,omitempty"`
	// Limit of the comment in bytes.
	Limit int `json:"limit"`
}

// Program are the settings of the controllers that a plan depends on.
type Program struct {
	Region string         `json:"region"`
	Render render.Options `json:"render"`
}

// Planner makes a plan of commits that anybody may have written: it must not be
// brought down by them, nor take longer or more memory than it was given. Its
// error is a *Undone where the same commits would end the same again.
type Planner interface {
	Plan(ctx context.Context, q Question, commits *git.Commits) (Verdict, error)
}

// Undone says in one sentence why there is no plan of some commits, and never will
// be.
type Undone struct{ Why string }

func (u *Undone) Error() string { return u.Why }
