// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"errors"
	"strconv"

	"github.com/fluxcd/pkg/envsubst"
	"github.com/fluxcd/pkg/envsubst/parse"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var (
	// errTooLong says that a value may become longer than there is room for.
	errTooLong = errors.New("too long")
	// errFunction says that a function does not work on what it is given.
	errFunction = errors.New("a function fails on what it is given")
)

// expand puts variables into a value that may get so many bytes. How long it can
// become is counted first: replacements within replacements multiply, and the library
// would make them whatever they take. unset is the first variable without a value.
func expand(text string, variables map[string]v1alpha1.VariableValue, room int) (value, unset string, err error) {
	tree, err := parse.Parse(text)
	if err != nil {
		return "", "", err
	}
	if longest(tree.Root, variables) > float64(room) {
		return "", "", errTooLong
	}
	// A position and a length that overflow when they are added make the library
	// panic, which would end the process for all that it reconciles.
	defer func() {
		if recover() != nil {
			value, err = "", errFunction
		}
	}()
	value, err = envsubst.Eval(text, func(name string) (string, bool) {
		v, ok := variables[name]
		if !ok && unset == "" {
			unset = name
		}
		return string(v), ok
	})
	return value, unset, err
}

// longest is a bound, in bytes, of what a part of a text becomes, and of what is made
// on the way. It is no whole number: it must not overflow.
func longest(n parse.Node, variables map[string]v1alpha1.VariableValue) float64 {
	switch n := n.(type) {
	case *parse.TextNode:
		return float64(len(n.Value))
	case *parse.ListNode:
		return longestOf(n.Nodes, variables)
	case *parse.FuncNode:
		own, given := float64(len(variables[n.Param])), longestOf(n.Args, variables)
		switch n.Name {
		case "//": // nothing is between all letters, and replaced there too
			return own + (own+1)*given
		case "#":
			return max(own, float64(len(strconv.Itoa(len(variables[n.Param]))))) + given
		}
		return own + given
	}
	return 0
}

func longestOf(nodes []parse.Node, variables map[string]v1alpha1.VariableValue) float64 {
	var sum float64
	for _, n := range nodes {
		sum += longest(n, variables)
	}
	return sum
}
