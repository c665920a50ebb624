// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// pprofAddr is where the controller's profiles are, when they are asked for.
const pprofAddr = "127.0.0.1:16060"

// profile takes a profile of the processors' time from now on; the function that it
// returns writes it, and one of the memory.
func (e *espalier) profile(ctx context.Context, what string) func() error {
	if e.o.profiles == "" {
		return func() error { return nil }
	}
	name := strings.Map(func(r rune) rune {
		if r == ' ' || r == ',' {
			return '-'
		}
		return r
	}, what)
	done := make(chan error, 1)
	go func() { done <- e.fetch(ctx, "profile?seconds=20", name+".cpu") }()
	return func() error {
		return errors.Join(<-done, e.fetch(ctx, "heap", name+".heap"))
	}
}

func (e *espalier) fetch(ctx context.Context, which, file string) error {
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, "http://"+pprofAddr+"/debug/pprof/"+which, http.NoBody)
	if err != nil {
		return fmt.Errorf("asking for a profile: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking for a profile: %w", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("reading a profile: %w", err)
	}
	if err := os.WriteFile(filepath.Join(e.o.profiles, file), data, 0o600); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	return nil
}
