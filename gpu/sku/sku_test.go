// SPDX-License-Identifier: Apache-2.0

package sku

import (
	"regexp"
	"strings"
	"testing"
)

func lookup(t *testing.T, name string) Instance {
	t.Helper()
	i, ok := Lookup(name)
	if !ok {
		t.Fatalf("no instance type %q", name)
	}
	return i
}

func TestCatalogueIsWhole(t *testing.T) {
	counts := map[string]int{}
	seen := map[string]bool{}
	date := regexp.MustCompile(`^20\d\d-\d\d-\d\d$`)
	for _, i := range All() {
		counts[i.Cloud]++
		if key := strings.ToLower(i.Name); seen[key] {
			t.Errorf("%s is there twice", i.Name)
		} else {
			seen[key] = true
		}
		switch {
		case i.GPU == "" || i.Vendor == "" || i.Arch == "" || i.QuotaFamily == "" || i.VCPUs == 0:
			t.Errorf("%s lacks a fact every row has: %+v", i.Name, i)
		case !date.MatchString(i.PriceDate):
			t.Errorf("%s: price date %q", i.Name, i.PriceDate)
		case i.Vendor == NVIDIA && !i.Capability.Known():
			t.Errorf("%s: no compute capability", i.Name)
		case i.BF16 != !i.Capability.Less(Capability{8, 0}) && i.Vendor == NVIDIA:
			t.Errorf("%s: bf16 is %t at capability %s", i.Name, i.BF16, i.Capability)
		case i.Status == Retired && !date.MatchString(i.RetiredOn):
			t.Errorf("%s is retired since %q", i.Name, i.RetiredOn)
		case i.Status == Unverified && (i.GPUs != 0 || i.Schedulable() == nil):
			t.Errorf("%s has no verified GPU count and must not be scheduled", i.Name)
		case float64(i.MemoryMiB) > i.VendorGB*1024:
			t.Errorf("%s: the driver reports %d MiB, more than the %g GB of the data sheet", i.Name, i.MemoryMiB, i.VendorGB)
		}
	}
	if counts[Azure] != 43 || counts[AWS] != 47 || counts[GCP] != 26 {
		t.Errorf("rows: %v, want 43 Azure, 47 AWS, 26 GCP", counts)
	}
}

func TestLookup(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		name   string
		check  func(Instance) bool
	}{
		"AnyCase":        {"names have no case", "standard_nc24ads_a100_v4", func(i Instance) bool { return i.Name == "Standard_NC24ads_A100_v4" }},
		"DriverMemory":   {"a \"24 GB\" A10 is 22.5 GiB", "Standard_NV36ads_A10_v5", func(i Instance) bool { return i.MemoryMiB == 23028 }},
		"EightNotTwelve": {"SkyPilot lists 12 GPUs: wrong", "Standard_ND96isr_H100_v5", func(i Instance) bool { return i.GPUs == 8 }},
		"GRID":           {"A10 gets the GRID driver", "Standard_NV36ads_A10_v5", func(i Instance) bool { return i.DriverBranch() == 570 }},
		"CUDA":           {"A100 gets the CUDA driver", "Standard_NC24ads_A100_v4", func(i Instance) bool { return i.DriverBranch() == 580 }},
		"Arm":            {"Grace is arm64", "Standard_ND128isr_NDR_GB200_v6", func(i Instance) bool { return i.Arch == "arm64" }},
		"Fraction":       {"what the driver shows of a sixth is unknown", "Standard_NV6ads_A10_v5", func(i Instance) bool { return i.Fraction == "1/6" && i.MemoryMiB == 0 }},
		"PriceByRegion":  {"prices differ by region", "Standard_NC4as_T4_v3", func(i Instance) bool { return i.USDPerHour["eastus"] == 0.526 && len(i.USDPerHour) == 29 }},
		"QuotaSeen":      {"a spelling that was seen", "Standard_NC4as_T4_v3", func(i Instance) bool { return i.QuotaFamily == "Standard NCASv3_T4 Family" && i.QuotaVerified }},
		"QuotaGuessed":   {"a spelling that was not", "Standard_ND96isr_MI300X_v5", func(i Instance) bool { return !i.QuotaVerified }},
	} {
		t.Run(name, func(t *testing.T) {
			if i := lookup(t, c.name); !c.check(i) {
				t.Errorf("%s: %+v", c.reason, i)
			}
		})
	}
	if _, ok := Lookup("Standard_Nonsense"); ok {
		t.Error("a nonsense name was found")
	}
}

func TestSuggest(t *testing.T) {
	for name, want := range map[string]string{
		"Standard_NC24ads_A100_v5": "Standard_NC24ads_A100_v4",
		"NC24ads_A100":             "Standard_NC24ads_A100_v4",
		"g5.xlarg":                 "g5.xlarge",
		"nonsense":                 "",
	} {
		got := ""
		if names := Suggest(name); len(names) > 0 {
			got = names[0]
		}
		if got != want {
			t.Errorf("%q suggests %q first, want %q", name, got, want)
		}
	}
}

func TestSchedulable(t *testing.T) {
	for name, want := range map[string]string{
		"Standard_NC24ads_A100_v4":             "",
		"g5.xlarge":                            "",
		"Standard_NC6s_v3":                     "Standard_NC6s_v3 was retired by Azure on 2025-09-30: nodes of it can no longer be created",
		"Standard_NC24lds_xl_RTXPRO6000BSE_v6": "no source gives its number of GPUs",
		"Standard_ND96isr_MI300X_v5":           "AKS installs no driver",
	} {
		err := lookup(t, name).Schedulable()
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestSlice(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		profile string
		gpus    int
		memory  int64
	}{
		"Short": {"seven of 9.5 GiB", "1g", 7, 9728},
		"AKS":   {"AKS's spelling", "MIG3g", 2, 40192},
		"Long":  {"NVIDIA's spelling", "7g.80gb", 1, 80640},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := lookup(t, "Standard_NC24ads_A100_v4").Slice(c.profile)
			if err != nil || s.GPUs != c.gpus || s.MemoryMiB != c.memory {
				t.Errorf("%s: %d of %d MiB, %v", c.reason, s.GPUs, s.MemoryMiB, err)
			}
		})
	}
	for _, other := range []string{"1g.5gb", "1g.20gb", "2g.x"} {
		if _, err := lookup(t, "Standard_NC24ads_A100_v4").Slice(other); err == nil {
			t.Errorf("%s is taken for a slice of another size", other)
		}
	}
	if _, err := lookup(t, "Standard_NC24ads_A100_v4").Slice("5g"); err == nil || !strings.Contains(err.Error(), "1g, 2g, 3g, 4g, 7g") {
		t.Errorf("a profile that does not exist: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("name,gpu\na,b\n")
	f.Add("# only a comment\n")
	f.Add("a,b\n\"x\n")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := decode("fuzz", strings.NewReader(text))
		if err != nil {
			return
		}
		for _, r := range rows {
			_, _ = instance(Azure, r, map[string]gpu{r["gpu"]: {}})
			_, _ = parseSlices(r["mig"])
			_, _ = parseCapability(r["capability"])
		}
	})
}
