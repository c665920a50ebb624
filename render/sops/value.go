// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// keyBytes is the length of a data key: AES-256.
const keyBytes = 32

// maxNonce bounds the nonce of a value; SOPS takes 32 bytes.
const maxNonce = 64

// encrypted is how SOPS writes a value. Nothing in it has to be quoted.
var encrypted = regexp.MustCompile(`^ENC\[AES256_GCM,data:([A-Za-z0-9+/=]*),iv:([A-Za-z0-9+/=]+),tag:([A-Za-z0-9+/=]+),type:([a-z]+)\]$`)

var (
	errValue   = errors.New("is not written as sops writes it: encrypt it anew")
	errAltered = errors.New("was changed after it was encrypted, or is of another place: restore it, or encrypt it anew")
)

// decryptValue returns what a value was before. Where it stands is a part of what is
// authenticated: it cannot be moved to another key.
func decryptValue(text, place string, key []byte) (any, error) {
	if text == "" {
		return "", nil // SOPS leaves it so
	}
	parts := encrypted.FindStringSubmatch(text)
	if parts == nil {
		return nil, errValue
	}
	data, err1 := base64.StdEncoding.DecodeString(parts[1])
	nonce, err2 := base64.StdEncoding.DecodeString(parts[2])
	tag, err3 := base64.StdEncoding.DecodeString(parts[3])
	if errors.Join(err1, err2, err3) != nil || len(nonce) == 0 || len(nonce) > maxNonce || len(tag) != aes.BlockSize {
		return nil, errValue
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errValue
	}
	sealed, err := cipher.NewGCMWithNonceSize(block, len(nonce))
	if err != nil {
		return nil, errValue
	}
	opened, err := sealed.Open(nil, nonce, append(data, tag...), []byte(place))
	if err != nil {
		return nil, errAltered
	}
	return typed(string(opened), parts[4])
}

// typed gives a value its type back.
func typed(text, kind string) (value any, err error) {
	switch kind {
	case "str", "bytes":
		return text, nil
	case "int":
		value, err = strconv.Atoi(text)
	case "float":
		value, err = strconv.ParseFloat(text, 64)
	case "bool":
		value, err = strconv.ParseBool(text)
	case "time":
		var t time.Time
		err = t.UnmarshalText([]byte(text))
		value = t
	default:
		return nil, fmt.Errorf("has a value of a type that is not known: %w", errValue)
	}
	if err != nil {
		return nil, errValue // its own would hold the value
	}
	return value, nil
}

// bytesOf is a value as it enters the checksum of a file.
func bytesOf(value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return []byte(v), nil
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	case float64:
		return strconv.AppendFloat(nil, v, 'f', -1, 64), nil
	case bool:
		if v {
			return []byte("True"), nil
		}
		return []byte("False"), nil
	case time.Time:
		return v.MarshalText()
	}
	return nil, errValue
}

// decryptedAll are the values of a file.
type decryptedAll struct {
	values  []any
	secrets []string // those that were encrypted, as texts
	sum     string
}

// decryptAll decrypts the values that the rule of a file says, and sums up all.
func decryptAll(f *file, r rule, key []byte) (all decryptedAll, err error) {
	hash := sha512.New()
	if f.meta.OnlyEncrypted {
		hash.Write(onlyEncrypted)
	}
	values := make([]any, len(f.leaves))
	for i, l := range f.leaves {
		values[i] = l.value
		if l.value == nil {
			continue
		}
		covered := r.encrypts(l.path)
		if covered {
			text, ok := l.value.(string)
			if !ok {
				return all, errAltered // a value in the clear, where there was none
			}
			if values[i], err = decryptValue(text, strings.Join(l.path, ":")+":", key); err != nil {
				return all, err
			}
		}
		if f.meta.OnlyEncrypted && !covered {
			continue
		}
		summed, err := bytesOf(values[i])
		if err != nil {
			return all, err
		}
		hash.Write(summed)
		if covered {
			all.secrets = append(all.secrets, string(summed))
		}
	}
	all.values, all.sum = values, fmt.Sprintf("%X", hash.Sum(nil))
	return all, nil
}

// onlyEncrypted begins the sum of files whose other values are not summed up: such a
// sum is never that of a file where they are. It is a constant of the format.
var onlyEncrypted = []byte{
	0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
	0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
}

// quote writes text as JSON and YAML both read it, on one line.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r >= 0x7f && r <= 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// written is a value as it is put into YAML, and into JSON but for a time.
func written(value any) string {
	switch v := value.(type) {
	case string:
		return quote(v)
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	}
	return "null"
}
