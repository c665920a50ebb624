// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// The types below are the part of SARIF 2.1.0 that findings need. A library for
// all of it would bring 100 types and a schema validator that opens addresses.
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver sarifDriver `json:"driver"`
		} `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID                   string    `json:"id"`
		Name                 string    `json:"name"`
		ShortDescription     sarifText `json:"shortDescription"`
		FullDescription      sarifText `json:"fullDescription"`
		Help                 sarifText `json:"help"`
		HelpURI              string    `json:"helpUri"`
		DefaultConfiguration struct {
			Level string `json:"level"`
		} `json:"defaultConfiguration"`
	}
	sarifText struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations,omitempty"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Fixes        []sarifFix        `json:"fixes,omitempty"`
	}
	sarifFix struct {
		Description sarifText     `json:"description"`
		Changes     []sarifChange `json:"artifactChanges"`
	}
	sarifChange struct {
		Artifact     sarifArtifact      `json:"artifactLocation"`
		Replacements []sarifReplacement `json:"replacements"`
	}
	// sarifReplacement is of a whole line: a region without columns is one, without
	// its end.
	sarifReplacement struct {
		Deleted  sarifRegion `json:"deletedRegion"`
		Inserted sarifText   `json:"insertedContent"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI       string `json:"uri"`
		URIBaseID string `json:"uriBaseId,omitempty"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
)

// sourceRoot is what forges take for the root of the checkout.
const sourceRoot = "%SRCROOT%"

// fingerprintKey names how fingerprint is computed, with a version: a forge
// compares those of one name only.
const fingerprintKey = "espalierFinding/v1"

func writeSARIF(w io.Writer, findings []shownFinding) error {
	run := sarifRun{Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{
		Name: "espalier", InformationURI: "https://github.com/espalier-dev/espalier", Rules: []sarifRule{},
	}
	rules, seen := map[string]int{}, map[string]int{}
	for _, f := range findings {
		index, known := rules[f.Code]
		if !known {
			index = len(rules)
			rules[f.Code] = index
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, ruleOf(f.Code, f.Severity))
		}
		r := sarifResult{RuleID: f.Code, RuleIndex: index, Level: f.Severity, Message: sarifText{Text: f.Message}}
		if f.File != "" {
			r.Locations = []sarifLocation{locationOf(f)}
			r.Fixes = fixesOf(f, r.Locations[0].Physical)
		}
		same := subject(f)
		seen[same]++
		r.Fingerprints = map[string]string{fingerprintKey: fingerprint(same, seen[same])}
		run.Results = append(run.Results, r)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

// ruleOf explains a code with what docs/findings.md says of it.
func ruleOf(code, severity string) sarifRule {
	rule, known := finding.RuleOf(code)
	if !known {
		rule = finding.Rule{Code: code, Meaning: code, Remedy: "The message says what to do."}
	}
	r := sarifRule{
		ID: code, Name: code, HelpURI: rule.HelpURL(),
		ShortDescription: sarifText{Text: rule.Meaning},
		FullDescription:  sarifText{Text: rule.Meaning + " " + rule.Remedy},
		Help:             sarifText{Text: rule.Remedy, Markdown: rule.Remedy + " [" + code + "](" + rule.HelpURL() + ")"},
	}
	r.DefaultConfiguration.Level = severity
	if rule.Severity == finding.Error || rule.Severity == finding.Warning {
		r.DefaultConfiguration.Level = rule.Severity
	}
	return r
}

func locationOf(f shownFinding) sarifLocation {
	name := f.File
	if name == "-" {
		name = "stdin"
	}
	l := sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{URI: (&url.URL{Path: name}).String(), URIBaseID: sourceRoot}}}
	if path.IsAbs(name) {
		l.Physical.Artifact = sarifArtifact{URI: (&url.URL{Scheme: "file", Path: name}).String()}
	}
	if f.Line > 0 {
		l.Physical.Region = &sarifRegion{StartLine: f.Line}
	}
	if f.Object != "" {
		l.Logical = []sarifLogical{{FullyQualifiedName: f.Object, Kind: "object"}}
	}
	return l
}

// fixesOf is the line that mends a finding; nil where none does.
func fixesOf(f shownFinding, at sarifPhysical) []sarifFix {
	if f.Fix.None() || at.Region == nil {
		return nil
	}
	return []sarifFix{{
		Description: sarifText{Text: "Write " + strings.TrimSpace(f.Fix.New)},
		Changes: []sarifChange{{
			Artifact:     at.Artifact,
			Replacements: []sarifReplacement{{Deleted: *at.Region, Inserted: sarifText{Text: f.Fix.New}}},
		}},
	}}
}

// leadingField is the field that a message begins with.
var leadingField = regexp.MustCompile(`^[A-Za-z]+([.\[][^ :]*)?: `)

// subject is what a finding is about, without lines, prices and what else moves
// while the mistake stays the same.
func subject(f shownFinding) string {
	field := leadingField.FindString(f.Message)
	return strings.Join([]string{f.Code, f.File, f.Object, field}, "\x00")
}

// fingerprint of the nth finding on a subject: a forge takes two of one
// fingerprint for the same, also when lines were put before it.
func fingerprint(subject string, n int) string {
	sum := sha256.Sum256([]byte(subject + "\x00" + strconv.Itoa(n)))
	return hex.EncodeToString(sum[:16])
}
