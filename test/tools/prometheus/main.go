// SPDX-License-Identifier: Apache-2.0

// Command promrules reads the alerts of a PrometheusRule with Prometheus' own parser and
// evaluates them with its own engine over made-up series:
//
//	promrules RULES.yaml CASES.yaml
//
// A case names an alert, series in the notation of promtool, one value a minute, and the
// summaries of what fires at a time. What is otherwise is a line of stdout.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"gopkg.in/yaml.v3"
)

// oneCase is what is made up, and what comes of it.
type oneCase struct {
	Alert  string        `yaml:"alert"`
	Reason string        `yaml:"reason"`
	Series []string      `yaml:"series"` // NAME{LABELS} VALUES
	At     time.Duration `yaml:"at"`
	Fires  []string      `yaml:"fires"` // summaries
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: promrules RULES.yaml CASES.yaml")
		os.Exit(2)
	}
	wrong, err := judge(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "promrules:", err)
		os.Exit(2)
	}
	if wrong > 0 {
		os.Exit(1)
	}
}

// judge says how many cases come out otherwise.
func judge(ruleFile, caseFile string) (wrong int, err error) {
	text, err := os.ReadFile(caseFile)
	if err != nil {
		return 0, err
	}
	var cases []oneCase
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&cases); err != nil {
		return 0, fmt.Errorf("%s: %w", caseFile, err)
	}
	for _, c := range cases {
		fired, err := evaluate(ruleFile, c)
		if err != nil {
			return 0, fmt.Errorf("%s at %s: %w", c.Alert, c.At, err)
		}
		slices.Sort(c.Fires)
		if !slices.Equal(fired, c.Fires) {
			fmt.Printf("%s at %s: %s\n  want %q\n  got  %q\n", c.Alert, c.At, c.Reason, c.Fires, fired)
			wrong++
		}
	}
	return wrong, nil
}

// evaluate runs the rules once a minute, and returns the summaries of an alert that fires
// at the time of the case.
func evaluate(ruleFile string, c oneCase) (fired []string, err error) {
	series := "load 1m\n  " + strings.Join(c.Series, "\n  ")
	suite, err := promqltest.NewLazyLoader(series, promqltest.LazyLoaderOpts{EnableAtModifier: true, EnableNegativeOffset: true})
	if err != nil {
		return nil, fmt.Errorf("reading the series: %w", err)
	}
	defer func() { err = errors.Join(err, suite.Close()) }()
	manager := rules.NewManager(&rules.ManagerOptions{
		Context: context.Background(), Logger: promslog.NewNopLogger(), GroupLoader: ofResource{},
		QueryFunc: rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()), Appendable: suite.Storage(),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, NameValidationScheme: model.UTF8Validation,
	})
	groups, errs := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, ruleFile)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for at := time.Unix(0, 0); !at.After(time.Unix(0, 0).Add(c.At)); at = at.Add(time.Minute) {
		suite.WithSamplesTill(at, func(failed error) { err = errors.Join(err, failed) })
		for _, g := range groups {
			g.Eval(suite.Context(), at)
		}
	}
	return summaries(groups, c.Alert, err)
}

// summaries of an alert that fires, in order.
func summaries(groups map[string]*rules.Group, alert string, err error) ([]string, error) {
	var fired []string
	known := false
	for _, g := range groups {
		for _, r := range g.AlertingRules() {
			err = errors.Join(err, r.LastError())
			known = known || r.Name() == alert
			for _, a := range r.ActiveAlerts() {
				if r.Name() == alert && a.State == rules.StateFiring {
					fired = append(fired, a.Annotations.Get("summary"))
				}
			}
		}
	}
	if !known {
		err = errors.Join(err, errors.New("there is no such alert"))
	}
	slices.Sort(fired)
	return fired, err
}

// ofResource reads the groups of rules in a PrometheusRule, as the Prometheus operator
// hands them on.
type ofResource struct{}

func (ofResource) Load(file string, ignoreUnknown bool, names model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, []error{err}
	}
	var resource struct {
		Spec yaml.Node `yaml:"spec"`
	}
	if err := yaml.Unmarshal(text, &resource); err != nil {
		return nil, []error{fmt.Errorf("%s: %w", file, err)}
	}
	spec, err := yaml.Marshal(&resource.Spec)
	if err != nil {
		return nil, []error{err}
	}
	return rulefmt.Parse(spec, ignoreUnknown, names)
}

func (ofResource) Parse(query string) (parser.Expr, error) { return parser.ParseExpr(query) }
