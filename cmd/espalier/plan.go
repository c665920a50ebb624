// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/render"
)

// planOptions are the flags of `espalier plan`.
type planOptions struct {
	repo, base, head string
	direct           bool
	syncFile, path   string
	region           string
	quota            string
	render           render.Options

	output   string
	diff     bool
	maxBytes int
}

func newPlanCommand() *cobra.Command {
	options := planOptions{render: defaultRender()}
	command := &cobra.Command{
		Use:   "plan",
		Short: "Say what a change does before it is merged",
		Long: "Compares two revisions of a Git repository as the controllers would build them: which Workspaces change, whether\n" +
			"they fit, what they cost, what restarts and what is lost. It reads Git's objects and leaves the work tree alone; it\n" +
			"needs no cluster, no cloud and no network. Exits with 1 when the head has an error, does not fit or exceeds a budget.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runPlan(c, options) },
	}
	options.bind(command)
	return command
}

func (o *planOptions) bind(command *cobra.Command) {
	fs := command.Flags()
	fs.StringVar(&o.repo, "repo", ".", "Folder within the repository")
	fs.StringVar(&o.base, "base", "", "Revision that the change goes to; empty: origin's main branch, else main or master")
	fs.StringVar(&o.head, "head", "HEAD", "Revision with the change; worktree: the files as they are on disk")
	fs.BoolVar(&o.direct, "direct", false, "Compare with base itself; without it, with the commit where head left base, as forges do")
	fs.StringVar(&o.syncFile, "sync", "", "File with the RepoSync whose path and substitutions apply; read at both revisions where the repository holds it. Empty: the one found")
	fs.StringVar(&o.path, "path", "", "Folder to build; empty: the path of the RepoSync, else the root")
	fs.StringVar(&o.region, "region", "", "Cloud region that prices are quoted for; empty: the cheapest known")
	bindProvider(fs, &o.render.Provider)
	fs.StringVar(&o.quota, "quota", "", "File with Azure's quotas: what espalier pools quota -o json writes, or the ConfigMap that the controller publishes; empty: they are not checked")
	fs.StringVar(&o.render.HelperImage, "helper-image", o.render.HelperImage, "Image of Espalier for the helpers in tuning pods, as given to the controller")
	fs.StringVar(&o.render.StorageClass, "storage-class", "", "StorageClass of the claims for checkpoints, as given to the controller; empty: the cluster's default")
	fs.StringVarP(&o.output, "output", "o", "text", "text, markdown, json or yaml")
	fs.BoolVar(&o.diff, "diff", false, "With text: the difference of the rendered objects too")
	fs.IntVar(&o.maxBytes, "max-bytes", plan.LimitGitea, "Largest size of the Markdown in bytes; what is over it is left out, the least important first. 0: no limit")
}

func runPlan(c *cobra.Command, o planOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	quotas, err := readQuota(o.quota)
	if err != nil {
		return err
	}
	r, err := openRevisions(o)
	if err != nil {
		return err
	}
	defer func() { _ = r.repository.Close() }()
	r.say(c.ErrOrStderr())
	base, head, notes, err := r.sides(c.Context(), o)
	if err != nil {
		return err
	}
	head.Quota = quotas
	p := plan.Compare(base, head, notes...)
	if err := printPlan(c.OutOrStdout(), p, o); err != nil {
		return err
	}
	if p.Refused {
		return errRefused
	}
	return nil
}

func (o *planOptions) validate() error {
	switch o.output {
	case "text", "markdown", "json", "yaml":
	default:
		return fmt.Errorf("--output %q: text, markdown, json or yaml", o.output)
	}
	if o.maxBytes != 0 && o.maxBytes < minComment {
		return fmt.Errorf("--max-bytes %d: at least %d, or 0 for no limit", o.maxBytes, minComment)
	}
	return nil
}

// minComment holds the summary and the lines that say what was left out.
const minComment = 4096

func printPlan(out io.Writer, p plan.Plan, o planOptions) error {
	var text []byte
	var err error
	switch o.output {
	case "json":
		text, err = p.JSON()
	case "yaml":
		text, err = p.YAML()
	case "markdown":
		text = []byte(p.Markdown(o.maxBytes))
	default:
		return p.Text(out, o.diff)
	}
	if err == nil {
		_, err = out.Write(text)
	}
	return err
}
