// SPDX-License-Identifier: Apache-2.0

package trainer

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// writeTime is how long half of the weights take to write: a run can be killed in
// between.
const writeTime = 150 * time.Millisecond

const prefix = "checkpoint-"

func checkpoint(step int) string { return prefix + strconv.Itoa(step) }

// checkpoints are the steps that have one, in order.
func (c *config) checkpoints() ([]int, error) {
	found, err := filepath.Glob(filepath.Join(c.Output, prefix+"*"))
	if err != nil {
		return nil, err
	}
	var steps []int
	for _, folder := range found {
		if step, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(folder), prefix)); err == nil {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	return steps, nil
}

// resume returns the step of the newest checkpoint. One that is incomplete fails the
// run, as it does with Axolotl.
func (c *config) resume() (int, error) {
	all, err := c.checkpoints()
	if err != nil || !c.Resume || len(all) == 0 {
		return 0, err
	}
	newest := all[len(all)-1]
	text, err := os.ReadFile(filepath.Join(c.Output, checkpoint(newest), "trainer_state.json"))
	if err != nil {
		return 0, fmt.Errorf("going on from %s: %w", checkpoint(newest), err)
	}
	var state struct {
		Step int `json:"global_step"`
	}
	if err := json.Unmarshal(text, &state); err != nil || state.Step != newest {
		return 0, fmt.Errorf("going on from %s: its trainer_state.json is damaged", checkpoint(newest))
	}
	fmt.Println("going on from", checkpoint(newest))
	return newest, nil
}

// writeAdapter writes an adapter as PEFT does. Its weights are all that was read, so
// that a run that was interrupted has to come to the same.
func writeAdapter(folder, base string, seen hash.Hash) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	about, err := json.Marshal(map[string]any{"peft_type": "LORA", "base_model_name_or_path": base, "r": 16, "target_modules": []string{"o_proj"}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "adapter_config.json"), about, 0o644); err != nil {
		return err
	}
	weights := weights(seen.Sum(nil))
	file, err := os.Create(filepath.Join(folder, "adapter_model.safetensors"))
	if err != nil {
		return err
	}
	defer file.Close()
	half := len(weights) / 2
	for _, part := range [][]byte{weights[:half], weights[half:]} {
		if _, err := file.Write(part); err != nil {
			return err
		}
		<-time.After(writeTime)
	}
	return file.Close()
}

// tensorBytes of each matrix.
const tensorBytes = 1 << 20

// weights are two matrices in the format safetensors, of small numbers that follow
// from a seed.
func weights(seed []byte) []byte {
	const name = "base_model.model.model.layers.0.self_attn.o_proj."
	header := fmt.Sprintf(`{"%slora_A.weight":{"dtype":"BF16","shape":[16,32768],"data_offsets":[0,%d]},"%slora_B.weight":{"dtype":"BF16","shape":[32768,16],"data_offsets":[%d,%d]}}`,
		name, tensorBytes, name, tensorBytes, 2*tensorBytes)
	header += strings.Repeat(" ", 7-(len(header)+7)%8)
	var out bytes.Buffer
	_ = binary.Write(&out, binary.LittleEndian, uint64(len(header))) // into memory
	out.WriteString(header)
	for i := range 2 * tensorBytes / 2 {
		out.Write([]byte{seed[i%len(seed)], 0x3c}) // BF16 of about 0.01
	}
	return out.Bytes()
}

// tell posts progress in Kubeflow's trainer status protocol, where the pod is told
// whom to tell. As with transformers, what goes wrong is a line of the log, and not
// the run's business.
func tell(step, steps int) {
	url := os.Getenv("KUBEFLOW_TRAINER_SERVER_URL")
	if url == "" {
		return
	}
	if err := post(url, step, steps); err != nil {
		fmt.Println("progress was not taken:", err)
	}
}

// trusting is a client that trusts whom the pod is told to trust, and nobody else.
var trusting = sync.OnceValues(func() (*http.Client, error) {
	authority, err := os.ReadFile(os.Getenv("KUBEFLOW_TRAINER_SERVER_CA_CERT"))
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	return &http.Client{Timeout: time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12},
	}}, nil
})

func post(url string, step, steps int) error {
	body, err := json.Marshal(map[string]any{"trainerStatus": map[string]any{
		"lastUpdatedTime": time.Now().UTC().Format(time.RFC3339), "progressPercentage": 100 * step / steps,
		"estimatedRemainingSeconds": int((time.Duration(steps-step) * StepTime).Seconds()),
		"metrics": []map[string]string{
			{"name": "loss", "value": fmt.Sprint(1 / float64(step))},
			{"name": "current_step", "value": strconv.Itoa(step)}, {"name": "total_steps", "value": strconv.Itoa(steps)},
		},
	}})
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	token, err := os.ReadFile(os.Getenv("KUBEFLOW_TRAINER_SERVER_TOKEN"))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	client, err := trusting()
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err == nil && res.StatusCode != http.StatusOK && res.StatusCode != http.StatusTooManyRequests {
		err = fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(said))
	}
	return err
}
