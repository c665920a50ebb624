// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// particulars are what an object says that no other says: its name, wherever that is in
// a text, UIDs, digests, versions and times. A walk over the object takes them out, and
// another over what is left puts them back, in the same order.
type particulars struct {
	name  string
	own   []byte // of all but the name
	put   bool   // they are put back
	last  int64  // the time before, in seconds: most are near to it
	shape maphash.Hash
}

// What stands for a particular: no text of Kubernetes has a zero in it.
const (
	hidden     = "\x00"
	hiddenName = hidden + "n"
	hiddenUID  = hidden + "u"
	hiddenSum  = hidden + "s"
)

// shortest name that is looked for in texts: shorter ones are in many by chance.
const shortest = 3

var (
	typeOfTime = reflect.TypeFor[metav1.Time]()
	typeOfMeta = reflect.TypeFor[metav1.ObjectMeta]()
	fieldLink  = fieldOfMeta("SelfLink")
	fieldMoved = fieldOfMeta("ResourceVersion")
)

func fieldOfMeta(name string) int {
	field, _ := typeOfMeta.FieldByName(name)
	return field.Index[0]
}

// walk goes over a value that can be set.
func (p *particulars) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(p.text(v.String()))
	case reflect.Pointer:
		if p.count(v.IsNil()); !v.IsNil() {
			p.walk(v.Elem())
		}
	case reflect.Slice:
		p.list(v)
	case reflect.Struct:
		p.fields(v)
	case reflect.Map:
		p.texts(v)
	case reflect.Interface:
		p.count(v.IsNil())
	case reflect.Int, reflect.Int32, reflect.Int64:
		p.size(int(v.Int()))
	case reflect.Bool:
		p.count(v.Bool())
	default:
		p.opaque(v)
	}
}

func (p *particulars) list(v reflect.Value) {
	if v.Len() == 0 {
		p.count(true) // nil is as good as none
		return
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		p.say(string(v.Bytes()))
		return
	}
	p.count(false)
	p.size(v.Len())
	for i := range v.Len() {
		p.walk(v.Index(i))
	}
}

func (p *particulars) fields(v reflect.Value) {
	if v.Type() == typeOfTime {
		t := v.Addr().Interface().(*metav1.Time)
		*t = p.time(*t)
		return
	}
	p.count(v.IsZero())
	if v.IsZero() {
		return
	}
	meta := v.Type() == typeOfMeta
	for i := range v.NumField() {
		field := v.Field(i)
		switch {
		case !field.CanSet(): // within a quantity
			p.opaque(v)
			return
		case meta && i == fieldMoved:
			field.SetString(p.number(field.String(), 10))
		case meta && i == fieldLink:
			field.SetString(p.number(field.String(), noted))
		default:
			p.walk(field)
		}
	}
}

// texts are the values of a map of texts; another map stays as it is.
func (p *particulars) texts(v reflect.Value) {
	of, ok := v.Interface().(map[string]string)
	if !ok {
		p.opaque(v)
		return
	}
	p.size(len(of))
	for _, key := range slices.Sorted(maps.Keys(of)) {
		p.say(key)
		of[key] = p.text(of[key])
	}
}

// say makes what stays a part of the shape.
func (p *particulars) say(s string) {
	if !p.put {
		_, _ = p.shape.WriteString(s) // it never fails
		_ = p.shape.WriteByte(0)
	}
}

func (p *particulars) count(yes bool) {
	if p.put {
		return
	}
	b := byte(1)
	if yes {
		b = 2
	}
	_ = p.shape.WriteByte(b) // it never fails
}

func (p *particulars) size(n int) {
	if !p.put {
		var b [binary.MaxVarintLen64]byte
		_, _ = p.shape.Write(b[:binary.PutVarint(b[:], int64(n))]) // it never fails
	}
}

// opaque stays whole: what cannot be set.
func (p *particulars) opaque(v reflect.Value) {
	if !p.put {
		p.say(fmt.Sprint(v))
	}
}

func (p *particulars) text(s string) string {
	if p.put {
		return p.putText(s)
	}
	if taken, ok := p.takeSum(s); ok {
		s = taken
	} else if len(p.name) >= shortest {
		s = strings.ReplaceAll(s, p.name, hiddenName)
	}
	p.say(s)
	return s
}

// takeSum takes a digest or a UID.
func (p *particulars) takeSum(s string) (string, bool) {
	if digits, ok := strings.CutPrefix(s, "sha256:"); ok {
		sum, err := hex.DecodeString(digits)
		if err == nil && len(sum) == 32 {
			p.own = append(p.own, sum...)
			return hiddenSum, true
		}
	}
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return "", false
	}
	uid, err := hex.DecodeString(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:])
	if err != nil {
		return "", false
	}
	p.own = append(p.own, uid...)
	return hiddenUID, true
}

func (p *particulars) putText(s string) string {
	switch {
	case !strings.Contains(s, hidden):
		return s
	case s == hiddenSum:
		return "sha256:" + hex.EncodeToString(p.next(32))
	case s == hiddenUID:
		u := hex.EncodeToString(p.next(16))
		return u[:8] + "-" + u[8:12] + "-" + u[12:16] + "-" + u[16:20] + "-" + u[20:]
	}
	return strings.ReplaceAll(s, hiddenName, p.name)
}

func (p *particulars) number(s string, base int) string {
	if p.put {
		if s != hidden {
			return s
		}
		n, size := binary.Uvarint(p.own)
		p.next(max(size, 0))
		return strconv.FormatUint(n, base)
	}
	if n, err := strconv.ParseUint(s, base, 64); err == nil {
		p.own = binary.AppendUvarint(p.own, n)
		s = hidden
	}
	p.say(s)
	return s
}

func (p *particulars) time(t metav1.Time) metav1.Time {
	p.count(t.IsZero())
	if t.IsZero() {
		return t
	}
	if p.put {
		since, size := binary.Varint(p.own)
		p.next(max(size, 0))
		p.last += since
		return metav1.Unix(p.last, 0)
	}
	p.own = binary.AppendVarint(p.own, t.Unix()-p.last)
	p.last = t.Unix()
	return metav1.Unix(1, 0)
}

// next are the next bytes of what was taken.
func (p *particulars) next(n int) []byte {
	if n > len(p.own) { // of another shape, which is seen when it is compared
		p.own = nil
		return make([]byte, n)
	}
	var of []byte
	of, p.own = p.own[:n], p.own[n:]
	return of
}
