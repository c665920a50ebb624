// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientset "k8s.io/client-go/kubernetes"

	"github.com/espalier-dev/espalier/deploy/image"
	"github.com/espalier-dev/espalier/test/port"
)

// gpuResource is what a device plugin would offer.
const gpuResource = "nvidia.com/gpu"

// sandboxImage is what the pause program is called on a node.
const sandboxImage = "localhost/pause:node"

// NodeOptions say what a real node is.
type NodeOptions struct {
	// Name of the Node.
	Name string
	// Labels of the Node beside the kubelet's own.
	Labels map[string]string
	// GPUs that the Node claims to have. There are none: a container that asks
	// for one gets nothing but the right to run here.
	GPUs int
}

// Node is a real kubelet with containerd and runc on this machine, whose pods run
// in a network of their own. Whatever listens on Address can be reached from them, by
// whatever name they call it.
type Node struct {
	// Name of the Node.
	Name string
	// Address of this machine in the network of the pods.
	Address string
	// Dir holds the logs of the kubelet and containerd, and everything of the pods.
	Dir string

	cluster   *Cluster
	remains   remains
	unlock    func()
	names     net.PacketConn
	processes []*process // in order of start
}

// StartNode makes this machine a node of the cluster and returns once it is Ready.
// It needs Linux, root, iproute2, and the programs of BuildNode. Two nodes, of one
// cluster or of two, do not meet: each has its own folder, network and cgroup. What
// an earlier process left behind when it was killed is removed first.
func (c *Cluster) StartNode(ctx context.Context, o NodeOptions) (*Node, error) {
	if err := MissingNode(c.options.Bin); err != nil {
		return nil, err
	}
	if os.Getuid() != 0 {
		return nil, errors.New("a real node needs root: it mounts file systems and makes namespaces")
	}
	dir, err := filepath.Abs(filepath.Join(c.Dir, "node-"+o.Name))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	n := &Node{Name: o.Name, Dir: dir, cluster: c}
	if n.remains, n.unlock, err = newRemains(dir); err != nil {
		return nil, fmt.Errorf("recording the node, for whoever has to clean up: %w", err)
	}
	c.nodes = append(c.nodes, n)
	if err := n.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("starting node %s: %w", o.Name, err), n.Stop())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context, o NodeOptions) error {
	var err error
	if n.Address, err = n.remains.network(ctx); err != nil {
		return err
	}
	if n.names, err = serveNames(n.Address); err != nil {
		return err
	}
	if err := n.remains.cgroups(); err != nil {
		return err
	}
	serving, err := port.Free()
	if err != nil {
		return err
	}
	if err := n.configure(serving); err != nil {
		return err
	}
	if err := n.run(containerd, "--config="+n.file("containerd.toml")); err != nil {
		return err
	}
	if err := n.importSandbox(ctx); err != nil {
		return err
	}
	if err := n.run(kubelet, n.kubeletArgs(o)...); err != nil {
		return err
	}
	return n.join(ctx, o.GPUs)
}

// run starts one of the node's programs, which finds the others in PATH.
func (n *Node) run(p program, args ...string) error {
	bin, err := filepath.Abs(n.cluster.options.Bin)
	if err != nil {
		return err
	}
	env := []string{"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH")}
	started, err := startProcess(command{dir: n.Dir, program: filepath.Join(bin, p.name), name: p.name, env: env, args: args}, n.cluster.died)
	if err == nil {
		n.processes = append(n.processes, started)
	}
	return err
}

// file is a path below the node's folder.
func (n *Node) file(name string) string { return filepath.Join(n.Dir, name) }

// socket is containerd's.
func (n *Node) socket() string { return n.file("containerd.sock") }

// importSandbox waits for containerd and gives it the image of pods' sandboxes.
func (n *Node) importSandbox(ctx context.Context) error {
	root, err := Root()
	if err != nil {
		return err
	}
	built, err := image.Build(ctx, image.Options{Dir: root, Package: "./test/cluster/pause", Platforms: []string{"linux/" + architecture}})
	if err != nil {
		return err
	}
	folder := n.file("pause")
	if err := built.WriteLayout(folder, sandboxImage); err != nil {
		return err
	}
	if err := image.Pack(folder, folder+".tar"); err != nil {
		return err
	}
	err = n.wait(ctx, func(context.Context) (err error) {
		_, err = os.Stat(n.socket())
		return err
	})
	if err != nil {
		return fmt.Errorf("waiting for containerd: %w", err)
	}
	_, err = n.ctr(ctx, "images", "import", "--local", folder+".tar")
	return err
}

// wait polls until check has no error, or one of the node's programs ends.
func (n *Node) wait(ctx context.Context, check func(context.Context) error) error {
	var last error
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		for _, p := range n.processes {
			select {
			case <-p.done:
				return false, p.failure()
			default:
			}
		}
		last = check(ctx)
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// join waits until the node is Ready, and gives it GPUs in the way that
// administrators advertise an extended resource that no device plugin knows.
func (n *Node) join(ctx context.Context, gpus int) error {
	client, err := clientset.NewForConfig(n.cluster.Config)
	if err != nil {
		return err
	}
	nodes := client.CoreV1().Nodes()
	err = n.wait(ctx, func(ctx context.Context) error {
		node, err := nodes.Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return notReady(node)
	})
	if err != nil {
		return fmt.Errorf("waiting for the node to be Ready: %w; the end of the kubelet's log:\n%s", err, tail(n.file(kubelet.name+".log")))
	}
	if gpus == 0 {
		return nil
	}
	patch := fmt.Sprintf(`{"status":{"capacity":{%q:"%d"}}}`, gpuResource, gpus)
	if _, err := nodes.Patch(ctx, n.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("advertising GPUs: %w", err)
	}
	err = n.wait(ctx, func(ctx context.Context) error {
		node, err := nodes.Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if have := node.Status.Allocatable[gpuResource]; have.Value() != int64(gpus) {
			return fmt.Errorf("%s of %d GPUs can be allocated", have.String(), gpus)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the kubelet to take the GPUs: %w", err)
	}
	return nil
}

func notReady(node *corev1.Node) error {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			return fmt.Errorf("%s: %s", c.Reason, c.Message)
		}
		if c.Type == corev1.NodeReady {
			return nil
		}
	}
	return errors.New("it has not said whether it is ready")
}

// TrustPlain lets the node pull from a registry without TLS.
func (n *Node) TrustPlain(host string) error {
	folder := filepath.Join(n.file("registries"), host)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf("server = %q\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", "http://"+host, "http://"+host)
	return os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(text), 0o644)
}

// Processes are the processes of the node's pods that run a program, by its file's
// name.
func (n *Node) Processes(program string) ([]int, error) { return n.remains.running(program) }

// ctr runs containerd's command line in the namespace of pods.
func (n *Node) ctr(ctx context.Context, args ...string) (string, error) {
	args = append([]string{"--address=" + n.socket(), "--namespace=k8s.io"}, args...)
	return output(ctx, filepath.Join(n.cluster.options.Bin, ctr.name), args...)
}

// Stop ends the pods, the kubelet and containerd, and removes what they left on this
// machine: processes, mounts, cgroups, the network. It may be called more than once.
func (n *Node) Stop() error {
	if n.unlock == nil {
		return nil
	}
	ctx := context.Background()
	var problems []error
	if len(n.processes) > 1 {
		n.processes[1].stop() // the kubelet first: it would start again what ends
	}
	if len(n.processes) > 0 {
		n.endTasks(ctx)
		n.processes[0].stop()
	}
	n.processes = nil
	if n.names != nil {
		problems = append(problems, n.names.Close())
	}
	problems = append(problems, n.remains.remove(ctx))
	n.unlock()
	n.unlock = nil
	if client, err := clientset.NewForConfig(n.cluster.Config); err == nil {
		// It fails where the API server is gone, and the Node with it.
		_ = client.CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{})
	}
	return errors.Join(problems...)
}

// endTasks ends every container in containerd's own way, so that its shims go too.
// What fails is left to remains.remove.
func (n *Node) endTasks(ctx context.Context) {
	ids, err := n.ctr(ctx, "tasks", "list", "--quiet")
	if err != nil {
		return
	}
	if tasks := strings.Fields(ids); len(tasks) > 0 {
		_, _ = n.ctr(ctx, append([]string{"tasks", "delete", "--force"}, tasks...)...)
	}
}
