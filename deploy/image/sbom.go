// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"net/url"
	"runtime/debug"
	"strings"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
)

// Names of the OCI annotations that the list of materials repeats.
const (
	annotationVersion  = "org.opencontainers.image.version"
	annotationLicences = "org.opencontainers.image.licenses"
)

// billOfMaterials lists the Go modules of a binary, and Go's own library, as the
// linker wrote them into it. What a module's licence is does not stand there, and
// so it is not said; a checksum is that of go.sum, which is not of a file.
func billOfMaterials(binary []byte, name string, annotations map[string]string) ([]byte, error) {
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return nil, fmt.Errorf("reading what the binary was built of: %w", err)
	}
	return list(info, name, annotations)
}

func list(info *debug.BuildInfo, name string, annotations map[string]string) ([]byte, error) {
	program := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeApplication, BOMRef: info.Path, Name: name, Version: annotations[annotationVersion],
	}
	if licence := annotations[annotationLicences]; licence != "" {
		program.Licenses = &cyclonedx.Licenses{{License: &cyclonedx.License{ID: licence}}}
	}
	libraries := []cyclonedx.Component{library("std", strings.TrimPrefix(info.GoVersion, "go"), "")}
	for _, m := range info.Deps {
		libraries = append(libraries, module(m))
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &program}
	bom.Components = &libraries
	var text bytes.Buffer
	// 1.5 is what registries and scanners read today.
	if err := cyclonedx.NewBOMEncoder(&text, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cyclonedx.SpecVersion1_5); err != nil {
		return nil, fmt.Errorf("writing the list of materials: %w", err)
	}
	return text.Bytes(), nil
}

// module is the module that was linked: where one is replaced, its replacement.
func module(m *debug.Module) cyclonedx.Component {
	if m.Replace != nil {
		m = m.Replace
	}
	return library(m.Path, m.Version, m.Sum)
}

func library(path, version, sum string) cyclonedx.Component {
	purl := fmt.Sprintf("pkg:golang/%s@%s", path, url.QueryEscape(version))
	c := cyclonedx.Component{
		Type: cyclonedx.ComponentTypeLibrary, BOMRef: purl, Name: path, Version: version, PackageURL: purl,
	}
	if sum != "" {
		c.Properties = &[]cyclonedx.Property{{Name: "go.sum", Value: sum}}
	}
	return c
}
