// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	clientset "k8s.io/client-go/kubernetes"

	"github.com/espalier-dev/espalier/test/port"
)

const (
	// pollInterval is how often readiness is looked at.
	pollInterval = 100 * time.Millisecond
	// readyTimeout bounds the start of the API server, which takes 6 s on two
	// free cores, and far longer beside a compiler.
	readyTimeout = 75 * time.Second
)

// startControlPlane starts etcd, the API server and, where asked for, the
// controllers and the scheduler.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	secure, err := port.Free()
	if err != nil {
		return err
	}
	users := newUsers()
	if err := c.writeSecrets(users); err != nil {
		return err
	}
	if err := c.run(etcd.name, "etcd", etcdArgs()); err != nil {
		return err
	}
	audit, err := c.auditArgs()
	if err != nil {
		return err
	}
	if err := c.run(kubernetes.name, "kube-apiserver", append(c.apiServerArgs(secure), audit...)); err != nil {
		return err
	}
	if err := c.waitForFile(ctx, servingCertificate); err != nil {
		return err
	}
	if err := c.writeKubeconfigs(secure, users); err != nil {
		return err
	}
	if err := c.waitReady(ctx); err != nil {
		return err
	}
	if c.options.Parts == APIServer {
		return nil
	}
	if err := c.run(kubernetes.name, "kube-controller-manager", controllerManagerArgs()); err != nil {
		return err
	}
	if err := c.run(kubernetes.name, "kube-scheduler", schedulerArgs()); err != nil {
		return err
	}
	return c.waitDefaultAccount(ctx)
}

// run starts a program of the bin folder under the name given.
func (c *Cluster) run(program, name string, args []string) error {
	return c.runWith(program, name, nil, args)
}

// runWith is run with something more in the environment.
func (c *Cluster) runWith(program, name string, env, args []string) error {
	bin, err := filepath.Abs(filepath.Join(c.options.Bin, program))
	if err != nil {
		return err
	}
	p, err := startProcess(command{dir: c.Dir, program: bin, name: name, env: env, args: args}, c.died)
	if err != nil {
		return err
	}
	c.processes = append(c.processes, p)
	return nil
}

// RestartAPIServer ends the API server and starts it again at the same address, as
// an upgrade of a control plane does, and returns when it is ready.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	const name = "kube-apiserver"
	i := slices.IndexFunc(c.processes, func(p *process) bool { return p.name == name })
	if i < 0 {
		return errors.New("restarting the API server: it is not this cluster's")
	}
	old := c.processes[i]
	old.stop()
	again, err := startProcess(command{dir: c.Dir, program: old.cmd.Path, name: name, args: old.cmd.Args[1:]}, c.died)
	if err != nil {
		return err
	}
	c.processes[i] = again
	return c.waitReady(ctx)
}

// etcdArgs: clients come through a socket in the cluster's folder, so that no
// port is taken and no other user of the machine reaches the store.
func etcdArgs() []string {
	return []string{
		"--data-dir=etcd",
		"--listen-client-urls=" + etcdSocket,
		"--advertise-client-urls=" + etcdSocket,
		"--listen-peer-urls=http://127.0.0.1:0",
		"--unsafe-no-fsync", // the data is as short-lived as the process
		"--log-level=warn",
	}
}

func (c *Cluster) apiServerArgs(port int) []string {
	args := []string{
		"--etcd-servers=" + etcdSocket,
		"--cert-dir=certs",
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none", // a loopback address is no valid endpoint
		"--secure-port=" + strconv.Itoa(port),
		"--service-account-issuer=" + cmp.Or(c.options.Issuer, "https://kubernetes.default.svc"),
		"--service-account-key-file=" + accountKey,
		"--service-account-signing-key-file=" + accountKey,
		"--authorization-mode=RBAC",
		"--token-auth-file=" + tokenFile,
		"--service-cluster-ip-range=10.96.0.0/16",
		"--kubelet-preferred-address-types=InternalIP", // the name of a node here is no name of DNS
	}
	if c.options.Authentication != "" {
		args = append(args, "--authentication-config="+authenticationFile)
	}
	if c.options.Parts == APIServer {
		// The accounts it would wait for are made by a controller.
		args = append(args, "--disable-admission-plugins=ServiceAccount")
	}
	return args
}

func controllerManagerArgs() []string {
	return []string{
		"--kubeconfig=kube-controller-manager.kubeconfig",
		"--leader-elect=false",
		"--secure-port=0",
		"--service-account-private-key-file=" + accountKey,
		"--root-ca-file=" + servingCertificate,
		"--use-service-account-credentials", // each controller has rights of its own
		"--kube-api-qps=200", "--kube-api-burst=400",
	}
}

func schedulerArgs() []string {
	return []string{
		"--kubeconfig=kube-scheduler.kubeconfig",
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=200", "--kube-api-burst=400",
	}
}

// waitFor polls until check is true. It gives up when a component ends.
func (c *Cluster) waitFor(ctx context.Context, check func(context.Context) bool) error {
	return poll(ctx, func(ctx context.Context) (bool, error) {
		for _, p := range c.processes {
			select {
			case <-p.done:
				return false, p.failure()
			default:
			}
		}
		return check(ctx), nil
	})
}

// poll polls until check is true or returns an error, within readyTimeout.
func poll(ctx context.Context, check wait.ConditionWithContextFunc) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return wait.PollUntilContextCancel(ctx, pollInterval, true, check)
}

func (c *Cluster) waitForFile(ctx context.Context, file string) error {
	err := c.waitFor(ctx, func(context.Context) bool {
		_, err := os.Stat(filepath.Join(c.Dir, file))
		return err == nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the API server's certificate: %w", err)
	}
	return nil
}

func (c *Cluster) waitReady(ctx context.Context) error {
	client, err := clientset.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	var last error
	err = c.waitFor(ctx, func(ctx context.Context) bool {
		_, last = client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the API server at %s: %w", c.Config.Host, errors.Join(err, last))
	}
	return nil
}

// waitDefaultAccount waits for what pods of the default namespace need: it also
// shows that the controllers work.
func (c *Cluster) waitDefaultAccount(ctx context.Context) error {
	client, err := clientset.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	var last error
	err = c.waitFor(ctx, func(ctx context.Context) bool {
		_, last = client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the default service account: %w", errors.Join(err, last))
	}
	return nil
}
