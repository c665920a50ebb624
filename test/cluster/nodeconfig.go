// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const architecture = runtime.GOARCH

// containerdConfig keeps everything below the node's folder, so that two nodes, and
// a containerd that the machine has, do not meet.
const containerdConfig = `version = 3
root = "<dir>/containerd/root"
state = "<dir>/containerd/state"

[grpc]
  address = "<dir>/containerd.sock"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "<sandbox>"
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = "<dir>/registries"

[plugins.'io.containerd.cri.v1.runtime']
  # Without CAP_SYS_RESOURCE no process may be made dearer than this one.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["<bin>"]
    conf_dir = "<dir>/cni"
    use_internal_loopback = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "<bin>/runc"
      SystemdCgroup = false

[plugins.'io.containerd.nri.v1.nri']
  disable = true
[plugins.'io.containerd.internal.v1.opt']
  path = "<dir>/containerd/opt"
`

// cniConfig gives each pod an address of the bridge's network, and a way to this
// machine and no further.
const cniConfig = `{
  "cniVersion": "1.0.0",
  "name": "<id>",
  "plugins": [{
    "type": "cni-bridge", "bridge": "<bridge>", "isGateway": false, "ipMasq": false,
    "ipam": {
      "type": "cni-host-local", "dataDir": "<dir>/addresses",
      "ranges": [[{"subnet": "<subnet>", "gateway": "<address>"}]], "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`

// kubeletConfig: thresholds of the disk are off, because the disk is the machine's
// and other users of it are none of the node's business.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: <address>
port: <port>
healthzPort: 0
readOnlyPort: 0
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /<id>
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
containerRuntimeEndpoint: unix://<dir>/containerd.sock
podLogsDir: <dir>/logs
resolvConf: <dir>/resolv.conf
volumePluginDir: <dir>/plugins
serializeImagePulls: false
nodeStatusUpdateFrequency: 2s
syncFrequency: 5s
`

// configure writes the files that containerd and the kubelet read.
func (n *Node) configure(port int) error {
	bin, err := filepath.Abs(n.cluster.options.Bin)
	if err != nil {
		return err
	}
	fill := strings.NewReplacer(
		"<dir>", n.Dir, "<bin>", bin, "<id>", n.remains.id, "<bridge>", n.remains.bridge(), "<sandbox>", sandboxImage,
		"<address>", n.Address, "<subnet>", strings.TrimSuffix(n.Address, ".1")+".0/24", "<port>", fmt.Sprint(port),
	)
	for _, folder := range []string{"cni", "registries", "logs", "plugins"} {
		if err := os.MkdirAll(n.file(folder), 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"containerd.toml": containerdConfig, "cni/10-pods.conflist": cniConfig, "kubelet.yaml": kubeletConfig,
		"resolv.conf": "nameserver <address>\n",
	} {
		if err := os.WriteFile(n.file(name), []byte(fill.Replace(text)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// kubeletArgs: it has the administrator's rights, because the accounts of nodes are
// made by something that nobody needs here.
func (n *Node) kubeletArgs(o NodeOptions) []string {
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(o.Labels)) {
		labels = append(labels, key+"="+o.Labels[key])
	}
	kubeconfig, err := filepath.Abs(n.cluster.Kubeconfig)
	if err != nil {
		kubeconfig = n.cluster.Kubeconfig
	}
	return []string{
		"--config=" + n.file("kubelet.yaml"),
		"--kubeconfig=" + kubeconfig,
		"--root-dir=" + n.file("kubelet"),
		"--cert-dir=" + n.file("certs"),
		"--hostname-override=" + n.Name,
		"--node-ip=" + n.Address,
		"--node-labels=" + strings.Join(labels, ","),
	}
}
