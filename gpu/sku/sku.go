// SPDX-License-Identifier: Apache-2.0

// Package sku is the catalogue of GPU instance types of Azure, AWS and Google
// Cloud: what a node of each has, which driver it gets on AKS, what it costs
// by list price and whether it can still be created.
//
// It holds facts with their sources and dates (data/*.csv) and decides one
// thing, Schedulable. What is unknown stays zero: it never guesses, never asks
// a cloud and never reads a clock.
package sku

import (
	"fmt"
	"strconv"
	"strings"
)

// Clouds of the catalogue.
const (
	Azure = "azure"
	AWS   = "aws"
	GCP   = "gcp"
)

// Status values of an Instance.
const (
	Available  = "available"
	Preview    = "preview"
	Retired    = "retired"
	Unverified = "unverified" // has a price, but no source gives its GPU count
)

// Vendors of GPUs.
const (
	NVIDIA = "nvidia"
	AMD    = "amd"
)

// Capability is a CUDA compute capability; zero is unknown or not CUDA.
type Capability struct{ Major, Minor int }

// Known says whether the capability is known.
func (c Capability) Known() bool { return c != Capability{} }

// Less says whether c is an older capability than d.
func (c Capability) Less(d Capability) bool {
	return c.Major < d.Major || c.Major == d.Major && c.Minor < d.Minor
}

// String is the capability as NVIDIA writes it, "8.0".
func (c Capability) String() string {
	return strconv.Itoa(c.Major) + "." + strconv.Itoa(c.Minor)
}

func parseCapability(s string) (Capability, error) {
	if s == "" {
		return Capability{}, nil
	}
	major, minor, ok := strings.Cut(s, ".")
	if !ok {
		return Capability{}, fmt.Errorf("reading compute capability %q: want major.minor", s)
	}
	a, err := strconv.Atoi(major)
	if err != nil {
		return Capability{}, fmt.Errorf("reading compute capability %q: %w", s, err)
	}
	b, err := strconv.Atoi(minor)
	if err != nil {
		return Capability{}, fmt.Errorf("reading compute capability %q: %w", s, err)
	}
	return Capability{Major: a, Minor: b}, nil
}

// Instance is one instance type. A zero field is unknown, not absent.
type Instance struct {
	// Cloud is azure, aws or gcp; Name is the cloud's name of the type.
	Cloud, Name string
	// GPU is the model with its data-sheet memory, for example A100-80GB.
	GPU string
	// Vendor of the GPU: nvidia or amd.
	Vendor string
	// Arch of the CPU: amd64 or arm64.
	Arch string
	// QuotaFamily is the name the cloud counts quota by; QuotaVerified says
	// whether the spelling was seen in a source.
	QuotaFamily   string
	QuotaVerified bool
	// Status is available, preview, retired or unverified; RetiredOn is the day
	// (YYYY-MM-DD) after which no node can be created.
	Status, RetiredOn string
	// Driver is the version of the NVIDIA driver that AKS installs, "" unknown.
	Driver string
	// OwnDriver says that no cloud installs Driver: it is what the owner of the nodes says
	// of them, the oldest that they have.
	OwnDriver bool
	// GPUs of one node, 0 unknown. Fraction is the share of one GPU ("1/6")
	// where the node has less than a whole one.
	GPUs     int
	Fraction string
	// MIG is the slice profile ("3g") of an Instance made by Slice, else "".
	MIG string
	// MemoryMiB is the memory of one GPU as the driver reports it; VendorGB is
	// the figure on the data sheet, which is larger.
	MemoryMiB int64
	VendorGB  float64
	// Capability of the GPU, zero for AMD.
	Capability Capability
	// BF16, FP8 and FP4 say whether the GPU computes in that type.
	BF16, FP8, FP4 bool
	// TFLOPS is the dense 16-bit tensor peak of one GPU by its data sheet.
	TFLOPS float64
	// NVLink between the GPUs of a node and RDMA between nodes; false where unknown.
	NVLink, RDMA bool
	// VCPUs, RAMGiB and LocalDiskGiB of one node. DiskKind is nvme or temp.
	VCPUs                int
	RAMGiB, LocalDiskGiB float64
	DiskKind             string
	// USDPerHour is the list price of one node by region, on demand, Linux;
	// SpotUSDPerHour the spot price where one is published. Do not modify.
	USDPerHour, SpotUSDPerHour map[string]float64
	// PriceDate is the day (YYYY-MM-DD) the prices were read.
	PriceDate string
	// Note is what else is known, for people.
	Note string
}

// Chip is the GPU's name without its memory, for sentences: "A100".
func (i Instance) Chip() string {
	if cut := strings.LastIndexByte(i.GPU, '-'); cut > 0 && strings.HasSuffix(i.GPU, "GB") {
		return i.GPU[:cut]
	}
	return i.GPU
}

// MemoryBytes is the memory of one GPU as the driver reports it, 0 unknown.
func (i Instance) MemoryBytes() int64 { return i.MemoryMiB << 20 }

// DriverBranch is the driver's major version, 580 of "580.159.04"; 0 unknown.
func (i Instance) DriverBranch() int {
	major, _, _ := strings.Cut(i.Driver, ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return 0
	}
	return n
}

// WithDriver is an instance type as nodes are whose driver no cloud installs: version is
// what their owner says of it, "" nothing.
func (i Instance) WithDriver(version string) Instance {
	i.Driver, i.OwnDriver = version, true
	return i
}

// CloudName is the cloud as people write it.
func (i Instance) CloudName() string {
	switch i.Cloud {
	case Azure:
		return "Azure"
	case AWS:
		return "AWS"
	case GCP:
		return "Google Cloud"
	}
	return i.Cloud
}

// Schedulable says whether nodes of this type can be created and used: nil, or
// why not in one sentence.
func (i Instance) Schedulable() error {
	switch {
	case i.Status == Retired:
		return fmt.Errorf("%s was retired by %s on %s: nodes of it can no longer be created", i.Name, i.CloudName(), i.RetiredOn)
	case i.GPUs == 0:
		return fmt.Errorf("%s: no source gives its number of GPUs, so it is listed and never chosen", i.Name)
	case i.Cloud == Azure && i.Vendor == AMD:
		return fmt.Errorf("%s has %s GPUs: AKS installs no driver for them and the runtimes here are CUDA images", i.Name, i.Chip())
	}
	return nil
}
