// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/gpu/aks"
	"github.com/espalier-dev/espalier/gpu/karpenter"
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

// TestOrphanClouds: Karpenter's objects are looked through without a word, AKS where it
// is named; without either it is said what to name.
func TestOrphanClouds(t *testing.T) {
	bare := kubefake.NewClientBuilder().WithScheme(newScheme()).Build()
	if _, err := orphanClouds(aks.Options{}, bare); err == nil || !strings.Contains(err.Error(), "no NodeClaims of Karpenter; for AKS, name the cluster: --azure-subscription-id") {
		t.Errorf("neither: %v", err)
	}
	kinds := meta.NewDefaultRESTMapper([]schema.GroupVersion{karpenter.NodeClaim.WithVersion("v1").GroupVersion()})
	kinds.Add(v1alpha1.GroupVersion.WithKind(v1alpha1.GPUNodePoolKind), meta.RESTScopeNamespace)
	kinds.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	for _, kind := range []schema.GroupKind{karpenter.NodeClaim, karpenter.NodePool} {
		kinds.Add(kind.WithVersion("v1"), meta.RESTScopeRoot)
	}
	of := func(kind schema.GroupKind, name, uid string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{}}
		o.SetGroupVersionKind(kind.WithVersion("v1"))
		o.SetName(name)
		o.SetLabels(map[string]string{karpenter.LabelInstallation: "cluster-1", karpenter.LabelOwner: uid, "karpenter.sh/nodepool": "glost"})
		o.SetAnnotations(map[string]string{"espalier.dev/pool": "team-a/lost", "espalier.dev/candidate": "Standard_NC24ads_A100_v4 OnDemand"})
		return o
	}
	cluster := kubefake.NewClientBuilder().WithScheme(newScheme()).WithRESTMapper(kinds).WithObjects(
		of(karpenter.NodePool, "glost", "uid-2"), of(karpenter.NodeClaim, "glost-1", "uid-2"), of(karpenter.NodeClaim, "glost-2", "uid-2"),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "cluster-1"}}).Build()
	clouds, err := orphanClouds(aks.Options{}, cluster)
	if err != nil {
		t.Fatal(err)
	}
	found, err := findOrphans(t.Context(), clouds, cluster)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printOrphans(&out, found, ""); err != nil {
		t.Fatal(err)
	}
	want := "POOL    OF            REASON     INSTANCE                   NODES   STATE       USD/H\n" +
		"glost   team-a/lost   NoObject   Standard_NC24ads_A100_v4   2       Succeeded   7.346\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestQuotaCommand: what Azure lists is printed for people, and -o json is what the
// plan takes, bare or in the ConfigMap of the controller.
func TestQuotaCommand(t *testing.T) {
	const a100, family = "Standard_NC24ads_A100_v4", "standardNCADSA100v4Family"
	arm, err := fakearm.Start(fakearm.Options{Sizes: func(name string) (fakearm.Hardware, bool) {
		if !strings.HasPrefix(name, "Standard_NC24") {
			return fakearm.Hardware{}, false
		}
		return fakearm.Hardware{VCPUs: 24, Family: family}, true
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(arm.Close)
	for _, e := range arm.Env() {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	arm.ListSKU(fakearm.SKU{Name: a100, Zones: []string{"1", "3"}, NoSpot: true})
	arm.ListSKU(fakearm.SKU{Name: "Standard_NC24rs_v9", Forbidden: true})
	arm.SetQuota(family, 100)
	flags, err := arm.Flags(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	quotas := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		command := newQuotaCommand()
		command.SetOut(&out)
		command.SetArgs(append(args, flags...))
		if err := command.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	want := "QUOTA                       USED   LIMIT   VCPUS LEFT\n" +
		"standardNCADSA100v4Family   0      100     100\n\n" +
		"SIZE                       FAMILY                      VCPUS   ZONES   ON DEMAND       SPOT\n" +
		"Standard_NC24ads_A100_v4   standardNCADSA100v4Family   24      1 3     4               SKUNotAvailable\n" +
		"Standard_NC24rs_v9         standardNCADSA100v4Family   24      –       SKUNotAllowed   SKUNotAllowed\n"
	if got := quotas(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	text := quotas("-o", "json")
	dir := t.TempDir()
	files := map[string]string{
		"bare.json": text,
		"map.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: espalier-quota}\ndata:\n  quota.json: |\n    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := readQuota(filepath.Join(dir, name))
		if err != nil || len(s.Sizes) != 2 || s.Usages[0].Limit != 100 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "other.yaml"), []byte("kind: ConfigMap\ndata: {a: b}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readQuota(filepath.Join(dir, "other.yaml")); err == nil || !strings.Contains(err.Error(), "espalier pools quota -o json") {
		t.Errorf("another ConfigMap: %v", err)
	}
}
