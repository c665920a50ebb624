// SPDX-License-Identifier: Apache-2.0

package repolayout

import "path"

// StatusPrefix begins the names of commit statuses unless a RepoSync says otherwise.
const StatusPrefix = "espalier"

// Ends of the names of the commit statuses on the head of a pull request.
const (
	StatusPlan = "plan" // nothing stands against it
	StatusFit  = "fit"  // what is new or changed fits its GPUs
	StatusCost = "cost" // within the budgets, and what it costs more
)

// CommitStatus is the name of a commit status of a pull request.
func CommitStatus(prefix, end string) string { return path.Join(prefix, end) }

// ReadyStatus is the name of the commit status of the commit that is synced.
func ReadyStatus(prefix, sync string) string { return path.Join(prefix, sync, "ready") }
