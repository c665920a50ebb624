// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func newRenderCommand() *cobra.Command {
	var monitors monitorOptions
	options := loadOptions{render: defaultRender()}
	var only string
	output := "yaml"
	command := &cobra.Command{
		Use:   "render PATH",
		Short: "Print what would be applied",
		Long: "Prints every child of the Workspaces below PATH as the controller would apply them, for the first candidate that\n" +
			"works. Where a Workspace names a Secret, the cluster's version of it is part of the input digest; it is not known here,\n" +
			"so that the digest, and the name of a tuning Job made from it, are others than in the cluster. What is refused is said\n" +
			"on stderr, and the exit code is 1.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, paths []string) error {
			monitors.set(&options.render)
			l, err := load(c.Context(), c.InOrStdin(), paths[0], options)
			if err != nil {
				return err
			}
			l.saySync(c.ErrOrStderr())
			return renderAll(c, l, only, output)
		},
	}
	command.Flags().StringVar(&options.syncFile, "sync", "", "File with the RepoSync whose substitutions apply; empty: the one found in the tree")
	command.Flags().StringVar(&options.region, "region", "", "Cloud region that prices are quoted for; empty: the cheapest known")
	command.Flags().StringVar(&only, "workspace", "", "NAMESPACE/NAME of the only Workspace to render")
	bindProvider(command.Flags(), &options.render.Provider)
	command.Flags().StringVar(&options.render.HelperImage, "helper-image", options.render.HelperImage, "Image of Espalier for the helpers in tuning pods, as given to the controller")
	command.Flags().StringVar(&options.render.StorageClass, "storage-class", "", "StorageClass of the claims for checkpoints, as given to the controller; empty: the cluster's default")
	monitors.BindFlags(command.Flags())
	command.Flags().StringVarP(&output, "output", "o", output, "yaml, or a folder to write one file a Workspace into")
	return command
}

func renderAll(c *cobra.Command, l loaded, only, output string) error {
	refused, err := sayErrors(c.ErrOrStderr(), l.shownFindings())
	if err != nil {
		return err
	}
	found := false
	for _, w := range l.workspaces {
		key := w.Workspace.Namespace + "/" + w.Workspace.Name
		if (only != "" && only != key) || w.Assessment.Refused() {
			continue
		}
		found = true
		out, err := w.Render()
		if err != nil {
			fmt.Fprintf(c.ErrOrStderr(), "%s: error: %v\n", key, err)
			refused = true
			continue
		}
		if err := writeRendered(c, w.Workspace, out, output); err != nil {
			return err
		}
	}
	if only != "" && !found && !refused {
		return l.noWorkspace(only)
	}
	if refused {
		return errRefused
	}
	return nil
}

// noWorkspace says which Workspaces there are.
func (l *loaded) noWorkspace(name string) error {
	var names []string
	for _, w := range l.workspaces {
		names = append(names, w.Workspace.Namespace+"/"+w.Workspace.Name)
	}
	switch {
	case len(names) == 0:
		return fmt.Errorf("--workspace %s: no Workspace is below the path", name)
	case !strings.Contains(name, "/"):
		return fmt.Errorf("--workspace %s: write NAMESPACE/NAME; below the path are %s", name, listed(names, 20))
	}
	return fmt.Errorf("--workspace %s: no such Workspace below the path; there are %s", name, listed(names, 20))
}

func writeRendered(c *cobra.Command, w *v1alpha1.Workspace, out render.Output, output string) error {
	var text bytes.Buffer
	for _, o := range out.Objects() {
		object := o.DeepCopy()
		object.SetNamespace(w.Namespace)
		content, err := yaml.Marshal(object.Object)
		if err != nil {
			return fmt.Errorf("writing %s %s as YAML: %w", o.GetKind(), o.GetName(), err)
		}
		text.WriteString("---\n")
		text.Write(content)
	}
	if output == "yaml" {
		_, err := c.OutOrStdout().Write(text.Bytes())
		return err
	}
	folder := filepath.Join(output, w.Namespace)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making the output folder: %w", err)
	}
	name := filepath.Join(folder, strings.ReplaceAll(w.Name, "/", "-")+".yaml")
	if err := os.WriteFile(name, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	fmt.Fprintln(c.ErrOrStderr(), "wrote", name)
	return nil
}
