// SPDX-License-Identifier: Apache-2.0

package fit

import "math"

// cache is the arithmetic of one GPU's KV cache.
type cache struct {
	perToken float64 // bytes of one token in one layer
	full     float64 // layers of the GPU that keep every token
	sliding  float64 // layers of the GPU that keep a window
	window   float64 // tokens those keep of one request
}

// cache of one GPU of a layout. Keys and values are divided over the tensor
// degree but never below one head; a latent cache (MLA) is repeated on every
// rank, and so is a sparse-attention index.
func (s Serving) cache(m Model, l layout) cache {
	element := float64(s.KVElementBytes)
	c := cache{}
	if m.latent() {
		c.perToken = (float64(m.KVLoraRank) + float64(m.RopeDim)) * element
	} else {
		heads := math.Max(1, math.Ceil(float64(m.KVHeads)/float64(l.tensor)))
		c.perToken = 2 * heads * float64(m.HeadDim) * element
	}
	c.perToken += float64(m.IndexBytes)
	// The fullest stage holds the most layers; which kinds it gets is not
	// known, so it is taken to hold as many of each as it can.
	stage := math.Ceil(float64(m.Layers) / float64(l.pipeline))
	attention := math.Min(stage, float64(m.attentionLayers()))
	c.full = math.Min(attention, float64(m.attentionLayers()-m.SlidingLayers))
	c.sliding = attention - c.full
	// While a prompt is read in pieces, a window layer holds its window and the pieces that
	// are on their way: one more than there are stages (vLLM 0.26.0, max_in_flight_tokens).
	c.window = float64(m.Window) - 1 + float64(l.pipeline+1)*float64(s.BatchTokens)
	return c
}

// tokens is the capacity of a cache as vLLM reports it: as many as the longest requests
// that it holds have, of which layers with a window keep less (get_kv_cache_capacity).
func (c cache) tokens(bytes, longest int64) int64 {
	one := c.request(longest)
	if bytes <= 0 || one <= 0 {
		return 0
	}
	return size(float64(bytes) / float64(one) * float64(longest))
}

// request is the bytes of one request of that many tokens.
func (c cache) request(tokens int64) int64 {
	n := float64(tokens)
	return size(c.perToken * (c.full*n + c.sliding*math.Min(n, c.window)))
}

// longest is the longest request that fits into the bytes.
func (c cache) longest(bytes int64) int64 {
	if bytes <= 0 || c.perToken <= 0 {
		return 0
	}
	room := float64(bytes) / c.perToken
	n := room / (c.full + c.sliding)
	if n > c.window && c.sliding > 0 {
		n = (room - c.sliding*c.window) / c.full
		if c.full == 0 {
			n = math.MaxInt64
		}
	}
	if c.full+c.sliding == 0 {
		n = math.MaxInt64
	}
	return size(n)
}
