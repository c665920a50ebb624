// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/espalier-dev/espalier/deploy/artifact"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// fromRegistry lets Flux go on with what it has installed from Git out of a real
// registry, from the artifact that `make manifests` pushes, as
// deploy/flux/from-registry.yaml has it. It is the same: nothing is rolled.
func (p *project) fromRegistry(t *testing.T) {
	in := func(namespace string) *project {
		return &project{world: p.world, Team: &harness.Team{Stand: p.Stand(), Namespace: namespace}, t: t}
	}
	running := func(s state) bool { return s.at("status", "availableReplicas") == "1" }
	before := in("espalier-system").until("Deployment", "espalier", "available", running).at("metadata", "generation")
	host, err := p.world.Cluster.StartRegistry(t.Context(), "127.0.0.1")
	must(t, err)
	packed, err := artifact.Pack(os.DirFS("../.."), nil)
	must(t, err)
	pushed, err := artifact.Push(t.Context(), packed, "oci://"+host+"/espalier-manifests:dev", authn.DefaultKeychain)
	must(t, err)
	_, digest, _ := strings.Cut(pushed, "@")

	source, err := os.ReadFile("../../deploy/flux/from-registry.yaml")
	must(t, err)
	p.applyIn(cluster.FluxNamespace, p.edited(string(source), map[string]string{
		"registry.example.com/espalier-manifests": host + "/espalier-manifests",
		"  interval: 1h": "  insecure: true\n  interval: 1h",
	}))
	p.patch(in(cluster.FluxNamespace).object("Kustomization", "espalier"), `{"spec":{"sourceRef":{"kind":"OCIRepository"}}}`)
	k := in(cluster.FluxNamespace).until("Kustomization", "espalier", "applied from the registry", func(s state) bool {
		return s.is("Ready", "True") && strings.HasPrefix(s.at("status", "lastAppliedRevision"), "dev@")
	})
	if revision := k.at("status", "lastAppliedRevision"); revision != "dev@"+digest {
		t.Errorf("applied is %s, pushed was %s", revision, pushed)
	}
	after := in("espalier-system").until("Deployment", "espalier", "available", running).at("metadata", "generation")
	if before != after {
		t.Errorf("the Deployment was changed, from generation %s to %s, by what Git holds too", before, after)
	}
}
