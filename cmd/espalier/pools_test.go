// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/gpu/aks"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// TestOrphans finds the one pool that nothing answers for, by the protocol, and
// writes to none.
func TestOrphans(t *testing.T) {
	arm, err := fakearm.Start(fakearm.Options{Sizes: func(string) (fakearm.Hardware, bool) { return fakearm.Hardware{}, true }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(arm.Close)
	for _, e := range arm.Env() {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	marks := func(installation, uid, object string) map[string]string {
		return map[string]string{aks.TagInstallation: installation, aks.TagOwner: uid, aks.TagPool: object}
	}
	arm.AddPool("gkept", "Standard_NC4as_T4_v3", marks("cluster-1", "uid-1", "team-a/kept"), nil)
	arm.AddPool("glost", "Standard_NC24ads_A100_v4", marks("cluster-1", "uid-2", "team-a/lost"), nil)
	arm.AddPool("gother", "Standard_NC4as_T4_v3", marks("cluster-2", "uid-3", "team-a/other"), nil)
	arm.AddPool("plain", "Standard_NC4as_T4_v3", nil, nil)

	kept := &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "kept", UID: "uid-1"}}
	kept.Spec.Provider = v1alpha1.ProviderAKS
	reader := kubefake.NewClientBuilder().WithScheme(newScheme()).WithObjects(kept, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "cluster-1"}}).Build()

	flags, err := arm.Flags(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var o aks.Options
	fs := pflag.NewFlagSet("orphans", pflag.ContinueOnError)
	o.BindFlags(fs)
	if err := fs.Parse(flags); err != nil {
		t.Fatal(err)
	}
	config, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := aks.New(config)
	if err != nil {
		t.Fatal(err)
	}
	found, err := findOrphans(t.Context(), cloud, reader)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printOrphans(&out, found, ""); err != nil {
		t.Fatal(err)
	}
	want := "POOL    OF            REASON     INSTANCE                   NODES   STATE       USD/H\n" +
		"glost   team-a/lost   NoObject   Standard_NC24ads_A100_v4   1       Succeeded   3.673\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if c := arm.Counts(); c["LIST"] != 1 || c["PUT"]+c["DELETE"]+c["REMOVE"] != 0 {
		t.Errorf("requests %v", c)
	}
}
