// SPDX-License-Identifier: Apache-2.0

// Command vllm stands in for the server on a node without a GPU. It takes the
// arguments that Espalier renders, is healthy when each adapter that they name is
// mounted and whole, and tells at /v1/models what it has read of them.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// module is a value of --lora-modules.
type module struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Base string `json:"base_model_name"`
}

// model is an entry of /v1/models. SHA256 of the weights is this program's own.
type model struct {
	ID     string `json:"id"`
	Parent string `json:"parent,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

func main() {
	if len(os.Args) < 2 || os.Args[1] != "serve" {
		fmt.Fprintln(os.Stderr, "usage: vllm serve ARGUMENT…")
		os.Exit(2)
	}
	models, err := load(os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vllm:", err)
		os.Exit(1)
	}
	http.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": models})
	})
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM) // process 1 gets no signal that it does not wait for
	go func() {
		<-told
		os.Exit(0)
	}()
	fmt.Println("serving", models)
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":8000", nil))
	os.Exit(1)
}

// load reads every adapter.
func load(args []string) ([]model, error) {
	var models []model
	inModules := false
	for _, arg := range args {
		switch {
		case strings.HasPrefix(arg, "--"):
			inModules = arg == "--lora-modules"
		case inModules:
			m, err := adapter(arg)
			if err != nil {
				return nil, err
			}
			models = append(models, m)
		}
	}
	return models, nil
}

func adapter(text string) (model, error) {
	var m module
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return model{}, fmt.Errorf("reading --lora-modules: %w", err)
	}
	if _, err := os.ReadFile(filepath.Join(m.Path, "adapter_config.json")); err != nil {
		return model{}, fmt.Errorf("loading adapter %s: %w", m.Name, err)
	}
	weights, err := os.ReadFile(filepath.Join(m.Path, "adapter_model.safetensors"))
	if err != nil {
		return model{}, fmt.Errorf("loading adapter %s: %w", m.Name, err)
	}
	return model{ID: m.Name, Parent: m.Base, SHA256: fmt.Sprintf("%x", sha256.Sum256(weights))}, nil
}
