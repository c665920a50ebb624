// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func (v *validator) inference(s v1alpha1.InferenceSpec) {
	const path = "spec.inference"
	if s.Template != nil {
		v.template(path, s)
	} else {
		v.model(path, s.ModelRef)
	}
	v.reference(path+".config", "ConfigMap", s.Config)
	if s.Replicas != nil {
		v.between(path+".replicas", int(*s.Replicas), 0, maxCount, "0 stops it")
	}
	v.autoscale(path, s)
	if s.ContextLength < 0 {
		v.refuse(finding.OutOfRange, path+".contextLength", "want 0 or more tokens; leave it out for the longest that fits")
	}
	v.cache(path+".cache", s.Cache)
	v.weights(path, s)
	v.route(path+".route", s.Route)
	v.adapters(path+".adapters", s.Adapters)
}

// cacheSize is a number with a unit that a disk is sold in.
var cacheSize = regexp.MustCompile(`^[0-9]+(Gi|Ti)$`)

func (v *validator) cache(path string, c *v1alpha1.WeightCache) {
	if c == nil {
		return
	}
	switch {
	case *c == (v1alpha1.WeightCache{}):
		v.refuse(finding.CacheInvalid, path, "say where the weights are kept: on a claim, or, with size, on a volume of each pod")
	case c.Claim != "" && c.StorageClass != "":
		v.refuse(finding.CacheInvalid, path, "exactly one of claim and storageClass is possible: keep one")
	case c.Claim != "" && c.Size != "":
		v.refuse(finding.CacheInvalid, path+".size", "a claim has a size of its own: remove it")
	case c.Claim == "" && !cacheSize.MatchString(c.Size):
		v.refuse(finding.CacheInvalid, path+".size", "want the size of the volume of each pod, with room for the weights, such as 200Gi")
	}
	v.cacheFolder(path+".path", *c)
	v.reference(path+".claim", "PersistentVolumeClaim", c.Claim)
	v.reference(path+".storageClass", "StorageClass", c.StorageClass)
}

func (v *validator) cacheFolder(field string, c v1alpha1.WeightCache) {
	switch {
	case c.Path == "":
	case c.Claim == "":
		v.refuse(finding.CacheInvalid, field, "is a folder of a claim, and the volume of each pod begins empty: remove it")
	case c.Path != "." && !folder(c.Path):
		v.refuse(finding.CacheInvalid, field, "want a folder of the claim, such as models/hub, or . for its root; without .. in it")
	}
}

var (
	// presetName is a short name or owner/name of a model repository.
	presetName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$`)
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

func (v *validator) model(path string, m v1alpha1.ModelRef) {
	switch {
	case m.Model != nil && m.Preset != "":
		v.refuse(finding.ModelAmbiguous, path+".model", "preset is set as well, and exactly one of them is possible: keep preset for a model of the catalogue, model for one with a lock file")
	case m.Model != nil:
		v.locked(path+".model", *m.Model)
	case m.Preset == "":
		v.refuse(finding.PresetMissing, path+".preset", "name the model; espalier presets lists them, and any other is named with model and a lock file")
	case v.placeholder(path+".preset", m.Preset):
	case !presetName.MatchString(m.Preset):
		v.refuse(finding.PresetInvalid, path+".preset", "want a short name such as phi-4-mini-instruct or a repository id such as microsoft/Phi-4-mini-instruct; espalier presets lists them")
	}
	if m.Revision != "" && !commitHash.MatchString(m.Revision) {
		v.refuse(finding.RevisionInvalid, path+".revision", "want the 40 hex digits of a commit of the model repository: a branch or tag can move")
	}
	v.reference(path+".accessSecret", "Secret", m.AccessSecret)
}

// maxModelID is the longest id that model hubs give a repository.
const maxModelID = 96

var modelID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (v *validator) locked(path string, m v1alpha1.LockedModel) {
	if !v.placeholder(path+".id", m.ID) && (!modelID.MatchString(m.ID) || len(m.ID) > maxModelID) {
		v.refuse(finding.ModelInvalid, path+".id", "want the id of the model's repository, owner/name")
	}
	if m.Lock == "" {
		v.refuse(finding.MissingField, path+".lock", "name the ConfigMap whose key %s holds what `espalier presets lock` writes", LockFile)
	}
	v.reference(path+".lock", "ConfigMap", m.Lock)
}

func (v *validator) tuning(s v1alpha1.TuningSpec) {
	const path = "spec.tuning"
	v.model(path, s.ModelRef)
	v.reference(path+".config", "ConfigMap", s.Config)
	if s.Method != v1alpha1.QLoRA && s.Method != v1alpha1.LoRA {
		v.refuse(finding.NotOneOf, path+".method", "%s", methodRemedy(s.Method))
		meant(v, s.Method, v1alpha1.QLoRA, v1alpha1.LoRA)
	}
	v.input(path+".input", s.Input)
	v.output(path+".output", s.Output)
	v.checkpoints(path+".checkpoints", s.Kept())
	if s.Timeout != nil && s.Timeout.Duration < minRunTimeout {
		v.refuse(finding.DurationInvalid, path+".timeout", "want a duration of at least %s, such as 12h; leave it out for a run without a limit", minRunTimeout)
	}
	if s.Retries != nil {
		v.between(path+".retries", int(*s.Retries), 0, maxRetries, "leave it out for 6")
	}
	v.evaluation(path+".evaluation", s)
	v.promote(path+".promote", s)
}

func (v *validator) promote(path string, s v1alpha1.TuningSpec) {
	if s.Promote == nil {
		return
	}
	if s.Promote.To == "" {
		v.refuse(finding.MissingField, path+".to", "name the inference Workspace that the adapter is for")
	}
	v.reference(path+".to", "Workspace", s.Promote.To)
	if s.Output.Image == "" {
		v.refuse(finding.PromotionInvalid, path, "needs output.image: an adapter on a claim has no digest")
	}
}

// maxQueue is the longest value of the label that names a queue to Kueue.
const maxQueue = 63

func (v *validator) queue(s v1alpha1.WorkspaceSpec) {
	const field = "spec.queue"
	switch {
	case s.Queue == "":
	case len(s.Queue) > maxQueue:
		v.refuse(finding.OutOfRange, field, "at most %d characters are possible: Kueue reads the name from a label", maxQueue)
	case s.Tuning == nil && s.Inference != nil:
		v.refuse(finding.QueueUnsupported, field, "a service is not queued: it runs until Git says otherwise, and Kueue could only take it away; remove queue, and bound the service by budget")
	default:
		v.reference(field, "LocalQueue", s.Queue)
	}
}

func (v *validator) checkpoints(path string, c v1alpha1.Checkpoints) {
	v.reference(path+".storageClass", "StorageClass", c.StorageClass)
	if c.Size != "" && !cacheSize.MatchString(c.Size) {
		v.refuse(finding.OutOfRange, path+".size", "want the size of a volume such as 256Gi; leave it out for one that has room for the model and its checkpoints")
	}
	v.between(path+".saveSteps", int(c.SaveSteps), 0, maxSaveSteps, "leave it out for four checkpoints in each pass over the data")
	v.between(path+".keep", int(c.Keep), 0, maxKept, "leave it out for the newest two")
	switch c.Retain {
	case "", v1alpha1.RetainUntilDeleted, v1alpha1.RetainUntilPublished, v1alpha1.RetainAlways:
	default:
		v.refuse(finding.NotOneOf, path+".retain", "want %s, %s or %s", v1alpha1.RetainUntilDeleted, v1alpha1.RetainUntilPublished, v1alpha1.RetainAlways)
		meant(v, c.Retain, v1alpha1.RetainUntilDeleted, v1alpha1.RetainUntilPublished, v1alpha1.RetainAlways)
	}
}

func methodRemedy(method v1alpha1.TuningMethod) string {
	if lower := v1alpha1.TuningMethod(strings.ToLower(string(method))); lower == v1alpha1.QLoRA || lower == v1alpha1.LoRA {
		return "write it in lower case: " + string(lower)
	}
	return fmt.Sprintf("want %s or %s", v1alpha1.QLoRA, v1alpha1.LoRA)
}

func (v *validator) input(path string, in v1alpha1.DataSource) {
	set := 0
	for _, one := range []bool{len(in.URLs) > 0, in.Claim != "", in.Image != "", len(in.Files) > 0} {
		if one {
			set++
		}
	}
	switch {
	case set == 0:
		v.refuse(finding.InputMissing, path, "name the training data: exactly one of urls, claim, image and files is required")
	case set > 1:
		v.refuse(finding.InputAmbiguous, path, "exactly one of urls, claim, image and files is possible: keep one")
	}
	v.atMost(path+".urls", len(in.URLs), maxURLs)
	for i, u := range in.URLs {
		v.url(finding.Index(path+".urls", i), u, v.data())
	}
	v.reference(path+".claim", "PersistentVolumeClaim", in.Claim)
	if in.Image != "" {
		v.image(path+".image", in.Image, imageRead)
	}
	v.references(path+".pullSecrets", "Secret", in.PullSecrets)
	v.files(path+".files", in.Files)
	v.format(path+".format", in.Format)
}

func (v *validator) output(path string, out v1alpha1.DataDestination) {
	switch {
	case out.Image == "" && out.Claim == "":
		v.refuse(finding.OutputMissing, path, "say where the adapter goes: exactly one of image and claim is required")
	case out.Image != "" && out.Claim != "":
		v.refuse(finding.OutputAmbiguous, path, "exactly one of image and claim is possible: keep one")
	}
	if out.Image != "" {
		v.image(path+".image", out.Image, imageWritten)
	}
	if out.SigningSecret != "" && out.Image == "" {
		v.refuse(finding.SigningImpossible, path+".signingSecret", "a signature is of an image: name %s, or remove signingSecret", v.name(path+".image"))
	}
	v.reference(path+".pushSecret", "Secret", out.PushSecret)
	v.reference(path+".signingSecret", "Secret", out.SigningSecret)
	v.reference(path+".claim", "PersistentVolumeClaim", out.Claim)
}

// imageUse is what an image reference is for.
type imageUse bool

const (
	imageRead    imageUse = false // pulled: a digest is best
	imageWritten imageUse = true  // pushed to: a digest is impossible
)

func (v *validator) image(field, ref string, use imageUse) {
	if ref == "" {
		v.refuse(finding.ImageInvalid, field, "name the image")
		return
	}
	if v.placeholder(field, ref) {
		return
	}
	parsed, err := name.ParseReference(ref, name.WithDefaultTag(""))
	if err != nil || strings.Contains(ref, "://") {
		v.noImage(field, ref)
		return
	}
	if !namesRegistry(ref) {
		v.refuse(finding.ImageInvalid, field, "the registry is missing, so that this would mean Docker Hub: write registry/%s", ref)
		return
	}
	switch _, byDigest := parsed.(name.Digest); {
	case byDigest && use == imageWritten:
		v.refuse(finding.ImageInvalid, field, "nothing can be pushed to a digest: write a tag, such as :0.0.1")
	case !byDigest && (parsed.Identifier() == "" || parsed.Identifier() == "latest"):
		v.warn(finding.ImageNotPinned, field, "%s", pinRemedy(use))
	}
}

// noImage refuses what is no reference, with the one in lower case where that is one.
func (v *validator) noImage(field, ref string) {
	v.refuse(finding.ImageInvalid, field, "%s", imageRemedy(ref))
	if lower := lowerName(ref); lower != ref && validImage(lower) {
		last := &v.problems[len(v.problems)-1]
		*last = last.Instead(ref, lower)
	}
}

// namesRegistry says whether a reference begins with a host, by the rule of
// container runtimes.
func namesRegistry(ref string) bool {
	host, _, found := strings.Cut(ref, "/")
	return found && (strings.ContainsAny(host, ".:") || host == "localhost")
}

func pinRemedy(use imageUse) string {
	if use == imageWritten {
		return "without a version the tag latest is overwritten by every run: write one, such as :0.0.1"
	}
	return "without a version what runs can change while Git does not: write a tag or, better, a digest"
}

// validImage says whether a reference names its registry and parses.
func validImage(ref string) bool {
	_, err := name.ParseReference(ref, name.WithDefaultTag(""))
	return err == nil && namesRegistry(ref) && !strings.Contains(ref, "://")
}

// repositoryOf is a reference without its tag.
func repositoryOf(ref string) string {
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[:i]
	}
	return ref
}

// lowerName is a reference with its name in lower case: a tag keeps its letters.
func lowerName(ref string) string {
	repository := repositoryOf(ref)
	return strings.ToLower(repository) + ref[len(repository):]
}

// imageRemedy says what is wrong with a reference that does not parse.
func imageRemedy(ref string) string {
	repository := repositoryOf(ref)
	switch {
	case strings.Contains(ref, "://"):
		return "this is a URL: an image is written without https://, as registry/repository:tag"
	case strings.ContainsFunc(repository, unicode.IsUpper):
		return "the name of a repository is in lower case: write " + lowerName(ref)
	case len(repository)-strings.IndexByte(repository, '/') == 2:
		return "the name of a repository has at least two characters"
	}
	return "this is no image reference: want registry/repository:tag or registry/repository@sha256:…"
}
