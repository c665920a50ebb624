// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/cmd/espalier/adapter"
	"github.com/espalier-dev/espalier/cmd/espalier/signin"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// terminationLog is where Kubernetes reads a container's termination message.
const terminationLog = "/dev/termination-log"

func newAdapterCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "adapter",
		Short: "Publish a trained adapter, or bring one to a service",
		Long:  "Helpers that run in pods: of a tuning Job after the trainer, and of a service before its runtime.",
	}
	command.AddCommand(newAdapterPushCommand(), newAdapterJudgeCommand(), newPullCommand("an adapter"))
	return command
}

func newAdapterPushCommand() *cobra.Command {
	var o adapter.Options
	var e adapter.Evaluation
	var credentials secretFolders
	var termination string
	var from lineage
	var index int
	command := &cobra.Command{
		Use:   "push --from DIR --to IMAGE",
		Short: "Push an adapter as an OCI image that image volumes mount",
		Long: "Packs adapter_config.json and adapter_model.safetensors of DIR into one layer and pushes it for linux/amd64 and\n" +
			"linux/arm64. The same bytes and annotations give the same digest, and an image at the tag that differs in its\n" +
			"commit alone keeps its own. A damaged adapter is refused.\n" +
			"Prints IMAGE@sha256:…, and leaves it as {\"adapter\":\"…\"} in the termination message of the container.\n" +
			"With --evaluation the numbers of the run are annotations of the image, and an adapter whose numbers miss a\n" +
			"threshold is not pushed: that is no failure, and the message says so.\n" +
			"With --key the image is signed before it gets its tag: cosign verify --key cosign.pub --insecure-ignore-tlog=true IMAGE.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if index > 0 {
				fmt.Fprintf(c.ErrOrStderr(), "espalier: pod %d of the run: pod 0 pushes the adapter\n", index)
				return nil
			}
			m := messageFile{termination, c.Flags().Changed("termination-log")}
			var err error
			if o.Annotations, err = from.annotations(c); err != nil {
				return m.conclude(c, repolayout.Left{}, err)
			}
			e.From = o.From
			left, err := publish(c, o, e, credentials)
			return m.conclude(c, left, err)
		},
	}
	fs := command.Flags()
	fs.StringVar(&o.From, "from", "", "Folder that the trainer wrote the adapter to (required)")
	fs.StringVar(&o.To, "to", "", "Image reference with a tag to push to (required)")
	from.bindFlags(fs)
	fs.StringVar(&credentials.docker, "docker-config", "", "Folder with config.json or .dockerconfigjson; empty: that of DOCKER_CONFIG, else Docker's default")
	fs.BoolVar(&credentials.identity, identityFlag, false, identityUsage)
	fs.StringVar(&credentials.key, "key", "", "Folder with cosign.key and cosign.password to sign the image with; empty: it is not signed")
	fs.StringVar(&e.Spec, "evaluation", "", "File with spec.tuning.evaluation as JSON; empty: nothing was measured")
	fs.StringVar(&e.Measured, "measured", "", "Folder that the tasks of the evaluation left their results in")
	fs.IntVar(&index, "index", 0, "Index of this pod among those of the run: only 0 pushes")
	fs.IntVar(&o.Attempts, "attempts", adapter.DefaultAttempts, "How often the push is tried")
	fs.StringVar(&termination, "termination-log", terminationLog, "File for the termination message; the default is written only where it exists")
	cobra.CheckErr(command.MarkFlagRequired("from"))
	cobra.CheckErr(command.MarkFlagRequired("to"))
	command.MarkFlagsMutuallyExclusive("docker-config", identityFlag)
	return command
}

// secretFolders are where Secrets are mounted, and whether the pod signs in as itself
// in the place of the first.
type secretFolders struct {
	docker, key string
	identity    bool
}

// identityFlag has a helper sign in to a registry of a cloud as the pod.
const identityFlag = "workload-identity"

const identityUsage = "Sign in to a registry of Azure, Amazon or Google as the workload identity of the pod, and with no Docker configuration"

// signInAs lets a helper sign in to the registry of an image as the pod.
func signInAs(t *adapter.Tries, image string) error {
	if err := signin.Check(image); err != nil {
		return &adapter.RefusedError{Message: err.Error()}
	}
	t.Keychain, t.Who = signin.Identity{}, "the identity of the pod's ServiceAccount"
	return nil
}

func pushAdapter(c *cobra.Command, o adapter.Options, from secretFolders) (string, error) {
	var err error
	if from.identity {
		err = signInAs(&o.Tries, o.To)
	} else {
		o.Keychain, err = adapter.DockerConfig(from.docker)
	}
	if err != nil {
		return "", err
	}
	if from.key != "" {
		if o.Key, err = adapter.LoadKey(from.key); err != nil {
			return "", err
		}
	}
	o.Progress = c.ErrOrStderr()
	return adapter.Push(c.Context(), o)
}

// maxWhy bounds an error in a termination message, in bytes: see repolayout.Left.
const maxWhy = 768

// publish pushes an adapter whose numbers meet what is demanded of them.
func publish(c *cobra.Command, o adapter.Options, e adapter.Evaluation, from secretFolders) (repolayout.Left, error) {
	var l repolayout.Left
	if e.Spec != "" {
		var missed []string
		var err error
		if l.Evaluation, missed, err = measure(c, e); err != nil {
			return repolayout.Left{}, err
		}
		if len(missed) > 0 {
			fmt.Fprintln(c.ErrOrStderr(), "espalier: the adapter is not published, and stays with the checkpoints of the run")
			l.Evaluation.Withheld = true
			return l, nil
		}
		numbers, err := json.Marshal(l.Evaluation)
		if err != nil {
			return repolayout.Left{}, fmt.Errorf("encoding what was measured: %w", err)
		}
		o.Annotations[repolayout.AnnotationEvaluation] = string(numbers)
	}
	pushed, err := pushAdapter(c, o, from)
	if err != nil {
		return repolayout.Left{}, err
	}
	fmt.Fprintln(c.OutOrStdout(), pushed)
	l.Adapter = pushed
	return l, nil
}

// measure reads what was measured, and says it.
func measure(c *cobra.Command, e adapter.Evaluation) (*v1alpha1.EvaluationStatus, []string, error) {
	got, missed, err := adapter.Measure(e)
	if err != nil {
		return nil, nil, err
	}
	for _, line := range repolayout.Measured(got) {
		fmt.Fprintln(c.ErrOrStderr(), "espalier: measured:", line)
	}
	for _, why := range missed {
		fmt.Fprintln(c.ErrOrStderr(), "espalier: missed:", why)
	}
	return got, missed, nil
}

// messageFile is where the termination message goes. Outside of a pod there is no
// such file, unless one was asked for.
type messageFile struct {
	path  string
	asked bool
}

// conclude tells the controller how it went.
func (m messageFile) conclude(c *cobra.Command, l repolayout.Left, err error) error {
	var refused *adapter.RefusedError
	if errors.As(err, &refused) {
		fmt.Fprintf(c.ErrOrStderr(), "espalier: %v\n", err)
		return errors.Join(ends(refused), m.leave(repolayout.Left{Why: refused.Message}))
	}
	if err != nil {
		return errors.Join(err, m.leave(repolayout.Left{Why: err.Error()}))
	}
	return m.leave(l)
}

// ends says whether another pod may do better where an adapter was refused.
func ends(refused *adapter.RefusedError) error {
	if refused.Again {
		return errRefused
	}
	return errFinal
}

func (m messageFile) leave(l repolayout.Left) error {
	if _, err := os.Stat(m.path); err != nil && !m.asked {
		return nil
	}
	if len(l.Why) > maxWhy {
		l.Why = strings.ToValidUTF8(l.Why[:maxWhy], "") + "…"
	}
	message, err := l.Message()
	if err != nil {
		return err
	}
	if err := os.WriteFile(m.path, message, 0o644); err != nil {
		return fmt.Errorf("writing the termination message: %w", err)
	}
	return nil
}
