package kafka

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/internal/wire"
)

// Every request that kmsg can write has the shape of its API, in each version that is served, and no prefix of it has. So
// the walk refuses nothing that a client sends, and lets nothing pass that ends too early.
func TestRequestsHaveTheShapeOfTheirAPI(t *testing.T) {
	prepareAPIs()
	for key, a := range apis {
		require.Contains(t, shapes(), key, a.name)
		for v := a.oldest; v <= a.Max; v++ {
			t.Run(fmt.Sprintf("%s %d", a.name, v), func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) {
					req := kmsg.RequestForKey(key)
					drawFields(t, reflect.ValueOf(req).Elem(), 0)
					req.SetVersion(v)
					body := req.AppendTo(nil)
					require.NoError(t, checkShape(key, v, v >= a.flexible, body))
					require.NoError(t, checkShape(key, v, v >= a.flexible, append(body, 1, 2, 3)), "with bytes behind it")
					if len(body) > 0 {
						cut := rapid.IntRange(0, len(body)-1).Draw(t, "cut")
						require.Error(t, checkShape(key, v, v >= a.flexible, body[:cut]))
					}
				})
			})
		}
	}
}

// drawFields fills in anything.
func drawFields(t *rapid.T, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint16:
		v.SetUint(uint64(rapid.Uint16().Draw(t, "uint")))
	case reflect.Float64:
		v.SetFloat(rapid.Float64().Draw(t, "float"))
	case reflect.String:
		v.SetString(rapid.StringN(0, 3, 9).Draw(t, "string"))
	case reflect.Array:
		v.Index(0).SetUint(uint64(rapid.Byte().Draw(t, "id")))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			drawFields(t, v.Elem(), depth)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, max(3-depth, 1)).Draw(t, "n")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			if v.Type().Elem().Kind() == reflect.Uint8 {
				v.Index(i).SetUint(7)
			} else {
				drawFields(t, v.Index(i), depth+1)
			}
		}
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			if rapid.IntRange(0, 4).Draw(t, "tags") == 0 {
				tags.Set(300, []byte("unknown"))
			}
			return
		}
		if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
			d.Default()
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Name != "Version" {
				drawFields(t, v.Field(i), depth)
			}
		}
	}
}

// Counts that no bytes bear out are refused before anything is made of them.
func TestBombsAreRefusedBeforeTheyAreDecoded(t *testing.T) {
	r := newRig(t, 1, Config{})
	for name, c := range map[string]struct {
		key, version int16
		body         []byte
	}{
		"four billion tagged fields":            {38, 2, []byte("\x0100000000\xff\xff\xff\xff\x0f")},
		"tagged fields within a tagged field":   {keyFetch, 15, []byte("\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01\x01\x01\x11\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x0f")},
		"two billion topics":                    {keyMetadata, 1, []byte("\x7f\xff\xff\xff")},
		"two billion topics, compact":           {keyMetadata, 9, []byte("\xff\xff\xff\xff\x07\x00")},
		"more elements than a request may have": {15, 5, append([]byte{0xc1, 0x84, 0x3d + 1}, make([]byte, 2_000_000)...)},
	} {
		frame := wire.AppendHeader(nil, wire.Header{Key: c.key, Version: c.version}, flexible(c.key, c.version))
		_, err := r.session(1).Frame(t.Context(), append(frame, c.body...))
		require.ErrorIs(t, err, ErrMalformedRequest, name)
		var shape errShape
		require.ErrorAs(t, err, &shape, name)
	}
}
