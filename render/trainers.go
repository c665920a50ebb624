// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"path"
	"strconv"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// localPath is a folder of the node in the pods of a run over several nodes.
const localPath = "/local"

// trainers says whether the pods of a run are on several nodes.
func (j job) trainers() bool { return j.spec.Tuning != nil && j.Candidate.CopyNodes > 1 }

// together adds what pods on several nodes need to train one adapter: an index
// each, names, the program that starts and ends them together, and checkpoints
// that all of them mount.
func (j job) together(l *layer, run *patch) error {
	if err := j.needHelper("tuning on several nodes"); err != nil {
		return err
	}
	l.components = []string{"nodes"}
	switch t := j.spec.Tuning; {
	case t.Output.Claim != "" && t.Evaluation != nil:
		l.components = append(l.components, "judge")
	case t.Output.Claim != "":
		l.components = append(l.components, "nodes/claim")
	}
	spec := run.body["spec"].(object)
	spec["completions"], spec["parallelism"] = j.Candidate.CopyNodes, j.Candidate.CopyNodes
	pod := spec["template"].(object)["spec"].(object)
	pod["subdomain"] = j.membersName()
	init, _ := pod["initContainers"].([]any)
	pod["initContainers"] = append([]any{object{"name": "helper", "image": j.Options.HelperImage}}, init...)
	for _, list := range []string{"initContainers", "containers"} {
		j.indexed(pod[list].([]any))
	}
	l.patches = append(l.patches, j.members(), j.isolation())
	return nil
}

// indexed tells the containers which of the pods they are in, and where the
// others are. What else the trainer is given is in the base.
func (j job) indexed(containers []any) {
	for _, c := range containers {
		c := c.(object)
		switch c["name"] {
		case "train":
			name := repolayout.RunName(j.name, j.digest)
			c["env"] = append(c["env"].([]any),
				object{"name": "RUN_PODS", "value": name},
				object{"name": "RUN_DOMAIN", "value": fmt.Sprintf("%s.%s.svc", j.membersName(), j.namespace)},
				object{"name": "RUN_GROUP", "value": j.digest},
				object{"name": "RUN_NODES", "value": strconv.Itoa(j.Candidate.CopyNodes)},
				object{"name": "RUN_GPUS", "value": strconv.Itoa(j.Candidate.PodGPUs)},
				object{"name": "RUN_DONE", "value": path.Join(workPath, j.runFolder(), "trained")},
			)
		case "publish", "judge":
			c["args"] = append(c["args"].([]any), "--index", "$(JOB_COMPLETION_INDEX)")
		}
	}
}

// preparedPath is where the trainer keeps the prepared data.
func (j job) preparedPath() string {
	if j.trainers() {
		return path.Join(localPath, "prepared")
	}
	return path.Join(workPath, j.runFolder(), "prepared")
}
