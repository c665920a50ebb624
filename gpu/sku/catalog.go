// SPDX-License-Identifier: Apache-2.0

package sku

import (
	"embed"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed data/*.csv
var data embed.FS

// PriceDates are the days the list prices of each cloud were read; the heads
// of data/*.csv say from where.
var PriceDates = map[string]string{Azure: "2026-06-18", AWS: "2026-07-20", GCP: "2026-08-03"}

// priceRegions are the regions of the clouds whose prices are known for one.
var priceRegions = map[string]string{AWS: "us-east-1", GCP: "us-central1"}

// index is the catalogue as loaded.
type index struct {
	all    []Instance
	byName map[string]int
}

// catalogue panics on a malformed data file: the files are part of the binary
// and a test loads them.
var catalogue = sync.OnceValue(func() index {
	all, err := load()
	if err != nil {
		panic("gpu/sku: " + err.Error())
	}
	x := index{all: all, byName: make(map[string]int, len(all))}
	for n, i := range all {
		x.byName[strings.ToLower(i.Name)] = n
	}
	return x
})

// Lookup returns the instance type of that name, whatever its case.
func Lookup(name string) (Instance, bool) {
	x := catalogue()
	n, ok := x.byName[strings.ToLower(strings.TrimSpace(name))]
	if !ok {
		return Instance{}, false
	}
	return x.all[n], true
}

// All returns every instance type, Azure, AWS, Google Cloud, in the order of
// the data files. The slice is the caller's; the price maps are not.
func All() []Instance {
	return append([]Instance(nil), catalogue().all...)
}

// Regions lists every region of any cloud that a price is known for, in order.
func Regions() []string {
	known := map[string]bool{}
	for _, i := range catalogue().all {
		for _, prices := range []map[string]float64{i.USDPerHour, i.SpotUSDPerHour} {
			for region := range prices {
				known[region] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(known))
}

func load() ([]Instance, error) {
	gpus, err := loadGPUs()
	if err != nil {
		return nil, err
	}
	var all []Instance
	for _, cloud := range []string{Azure, AWS, GCP} {
		rows, err := table("data/" + cloud + ".csv")
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			i, err := instance(cloud, r, gpus)
			if err != nil {
				return nil, fmt.Errorf("reading %s %s: %w", cloud, r["name"], err)
			}
			all = append(all, i)
		}
	}
	return all, addAzurePrices(all)
}

// row is one line of a data file by column name.
type row map[string]string

func (r row) int(column string) (int, error) {
	if r[column] == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(r[column])
	if err != nil {
		return 0, fmt.Errorf("reading column %s: %w", column, err)
	}
	return n, nil
}

func (r row) float(column string) (float64, error) {
	if r[column] == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(r[column], 64)
	if err != nil {
		return 0, fmt.Errorf("reading column %s: %w", column, err)
	}
	return f, nil
}

func (r row) yes(column string) bool { return r[column] == "yes" }

func table(path string) ([]row, error) {
	f, err := data.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	defer f.Close()
	return decode(path, f)
}

func decode(path string, f io.Reader) ([]row, error) {
	c := csv.NewReader(f)
	c.Comment = '#'
	lines, err := c.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("reading %s: no header", path)
	}
	rows := make([]row, 0, len(lines)-1)
	for _, line := range lines[1:] {
		r := make(row, len(line))
		for n, column := range lines[0] {
			r[column] = line[n]
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// gpu is one line of data/gpus.csv; mig is the memory and number of slices by profile.
type gpu struct {
	Instance
	mig map[string]slice
}

func loadGPUs() (map[string]gpu, error) {
	rows, err := table("data/gpus.csv")
	if err != nil {
		return nil, err
	}
	gpus := make(map[string]gpu, len(rows))
	for _, r := range rows {
		g := gpu{Instance: Instance{
			GPU: r["name"], Vendor: r["vendor"],
			BF16: r.yes("bf16"), FP8: r.yes("fp8"), FP4: r.yes("fp4"),
		}}
		memory, err := r.int("memoryMiB")
		if err == nil {
			g.MemoryMiB = int64(memory)
			g.VendorGB, err = r.float("vendorGB")
		}
		if err == nil {
			g.TFLOPS, err = r.float("tflops")
		}
		if err == nil {
			g.Capability, err = parseCapability(r["capability"])
		}
		if err == nil {
			g.mig, err = parseSlices(r["mig"])
		}
		if err != nil {
			return nil, fmt.Errorf("reading GPU %s: %w", r["name"], err)
		}
		gpus[g.GPU] = g
	}
	return gpus, nil
}

func instance(cloud string, r row, gpus map[string]gpu) (Instance, error) {
	g, ok := gpus[r["gpu"]]
	if !ok {
		return Instance{}, fmt.Errorf("GPU %q is not in gpus.csv", r["gpu"])
	}
	i := g.Instance
	i.Cloud, i.Name, i.Arch = cloud, r["name"], r["arch"]
	i.Status, i.RetiredOn, i.Driver, i.Note = r["status"], r["retired"], r["driver"], r["note"]
	i.Fraction, i.DiskKind = r["fraction"], r["diskKind"]
	i.NVLink, i.RDMA = r.yes("nvlink"), r.yes("rdma")
	i.QuotaFamily, i.QuotaVerified = strings.CutSuffix(r["quota"], "?")
	i.QuotaVerified = !i.QuotaVerified
	i.PriceDate = PriceDates[cloud]
	if i.Fraction != "" {
		// No log of a node with a part of an A10 was found, so what the driver reports there is unknown.
		i.MemoryMiB = 0
	}
	var err error
	if i.GPUs, err = r.int("gpus"); err != nil {
		return Instance{}, err
	}
	if i.VCPUs, err = r.int("vcpus"); err != nil {
		return Instance{}, err
	}
	if i.RAMGiB, err = r.float("ramGiB"); err != nil {
		return Instance{}, err
	}
	if i.LocalDiskGiB, err = r.float("disk"); err != nil {
		return Instance{}, err
	}
	if i.USDPerHour, err = regional(r, "usd", cloud); err != nil {
		return Instance{}, err
	}
	i.SpotUSDPerHour, err = regional(r, "spot", cloud)
	return i, err
}

// regional is the price of a column for the one region its cloud is known for.
func regional(r row, column, cloud string) (map[string]float64, error) {
	usd, err := r.float(column)
	if err != nil || usd == 0 {
		return nil, err
	}
	return map[string]float64{priceRegions[cloud]: usd}, nil
}

func addAzurePrices(all []Instance) error {
	rows, err := table("data/azure_prices.csv")
	if err != nil {
		return err
	}
	prices := make(map[string]map[string]float64, len(rows))
	for _, r := range rows {
		byRegion := map[string]float64{}
		for region := range r {
			if region == "name" || r[region] == "" {
				continue
			}
			if byRegion[region], err = r.float(region); err != nil {
				return fmt.Errorf("reading price of %s: %w", r["name"], err)
			}
		}
		prices[r["name"]] = byRegion
	}
	for n := range all {
		if all[n].Cloud == Azure {
			all[n].USDPerHour = prices[all[n].Name]
		}
	}
	return nil
}
