// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// stages is what kwok makes of simulated nodes and their pods.
//
//go:embed stages.yaml
var stages string

// defaultJobDuration lets a Job be seen running without making anyone wait.
const defaultJobDuration = 3 * time.Second

// startNodes starts kwok, and the provisioner unless the cluster is an existing
// one, which has its own. work ends with the cluster.
func (c *Cluster) startNodes(ctx, work context.Context) error {
	if c.options.Parts != Everything {
		return nil
	}
	stageFile := filepath.Join(c.Dir, "stages.yaml")
	if err := os.WriteFile(stageFile, []byte(c.options.stages()), 0o644); err != nil {
		return err
	}
	kubeconfig, err := filepath.Abs(c.Kubeconfig)
	if err != nil {
		return err
	}
	err = c.run(kwok.name, "kwok", []string{
		"--kubeconfig=" + kubeconfig,
		"--config=stages.yaml",
		"--manage-nodes-with-annotation-selector=" + AnnotationFakeNode + "=fake",
		"--node-lease-duration-seconds=40",
		"--node-ip=127.0.0.1",
		"--cidr=10.244.0.0/16",
	})
	if err != nil || c.options.Existing != "" {
		return err
	}
	return startProvisioner(ctx, work, c.Config, filepath.Join(c.Dir, "volumes"))
}

// stages fills the durations into stages.yaml.
func (o Options) stages() string {
	run := o.JobDuration
	if run == 0 {
		run = defaultJobDuration
	}
	return strings.NewReplacer(
		"<pod-start>", milliseconds(o.PodStart),
		"<job-duration>", milliseconds(run),
	).Replace(stages)
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
