package producer_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

type order struct {
	ID    int    `json:"id"`
	Name  string `json:"name,omitempty"`
	Cents int64  `json:"cents"`
}

func TestViewEncodesKeysAndValues(t *testing.T) {
	p, _, store := start(t, 1, producer.Config{})
	orders := producer.For(p, "t", producer.String, producer.JSON[order])
	r, err := orders.Send(t.Context(), "customer-42", order{ID: 1, Cents: 1999})
	require.NoError(t, err)
	require.Equal(t, 11, r.KeySize)
	done := make(chan producer.Result, 1)
	orders.SendAsync(t.Context(), "", order{}, func(r producer.Result) { done <- r })
	require.NoError(t, (<-done).Err)
	_, err = orders.Delete(t.Context(), "customer-42")
	require.NoError(t, err)
	at := time.UnixMilli(1e12)
	h := []partition.Header{{Key: "h"}}
	_, err = orders.SendRecord(t.Context(), producer.TypedRecord[string, order]{Key: "k", Headers: h, Timestamp: at, Partition: producer.To(0), Acks: producer.Need(partition.AcksLeader)})
	require.NoError(t, err)
	got := stored(t, store, "t", 0)
	require.Equal(t, "customer-42", string(got[0].Key))
	require.JSONEq(t, `{"id":1,"cents":1999}`, string(got[0].Value))
	require.Equal(t, []byte{}, got[1].Key)
	require.Nil(t, got[2].Value)
	require.Equal(t, "customer-42", string(got[2].Key))
	require.Equal(t, h, got[3].Headers)
	require.Equal(t, at.UnixMilli(), got[3].Timestamp)
}

func TestEncodersSeeWhereTheyAreAndMayAddHeaders(t *testing.T) {
	p, _, store := start(t, 1, producer.Config{})
	schema := func(dst []byte, v string, at *producer.Envelope) ([]byte, error) {
		require.Equal(t, "t", at.Topic)
		name := "value.schema"
		if at.IsKey {
			name = "key.schema"
			require.Len(t, at.Headers, 1)
		}
		at.Headers = append(at.Headers, partition.Header{Key: name, Value: []byte(v)})
		return append(dst, v...), nil
	}
	view := producer.For(p, "t", schema, schema)
	own := []partition.Header{{Key: "own"}}
	for range 2 {
		_, err := view.SendRecord(t.Context(), producer.TypedRecord[string, string]{Key: "k", Value: "v", Headers: own})
		require.NoError(t, err)
	}
	require.Equal(t, []partition.Header{{Key: "own"}}, own)
	for _, r := range stored(t, store, "t", 0) {
		require.Equal(t, []partition.Header{{Key: "own"}, {Key: "key.schema", Value: []byte("k")}, {Key: "value.schema", Value: []byte("v")}}, r.Headers)
	}
}

func TestNullIsSaidByTheEnvelopeNotByEmptiness(t *testing.T) {
	p, _, store := start(t, 1, producer.Config{})
	bytes := producer.For(p, "t", producer.Bytes, producer.Bytes)
	_, err := bytes.Send(t.Context(), nil, []byte{})
	require.NoError(t, err)
	_, err = bytes.Send(t.Context(), []byte{}, nil)
	require.NoError(t, err)
	optional := producer.For(p, "t", producer.Null[struct{}], producer.Nullable(producer.Int32))
	n := int32(7)
	_, err = optional.Send(t.Context(), struct{}{}, &n)
	require.NoError(t, err)
	_, err = optional.Send(t.Context(), struct{}{}, nil)
	require.NoError(t, err)
	got := stored(t, store, "t", 0)
	require.Nil(t, got[0].Key)
	require.Equal(t, []byte{}, got[0].Value)
	require.Equal(t, []byte{}, got[1].Key)
	require.Nil(t, got[1].Value)
	require.Nil(t, got[2].Key)
	require.EqualValues(t, 7, binary.BigEndian.Uint32(got[2].Value))
	require.Nil(t, got[3].Value)
}

func TestFailingEncoderRefusesTheRecord(t *testing.T) {
	panics := 0
	p, s, _ := start(t, 1, producer.Config{Events: producer.Events{Panic: func(*producer.PanicError) { panics++ }}})
	no := errors.New("no")
	fail := func(dst []byte, v string, _ *producer.Envelope) ([]byte, error) {
		if v == "panic" {
			panic("in an encoder")
		}
		return dst, no
	}
	_, err := producer.For(p, "t", fail, producer.String).Send(t.Context(), "", "")
	bad, ok := errors.AsType[*producer.EncodeError](err)
	require.True(t, ok)
	require.Equal(t, "key", bad.Part)
	require.ErrorIs(t, err, no)
	view := producer.For(p, "t", producer.String, fail)
	var told []error
	view.SendAsync(t.Context(), "", "panic", func(r producer.Result) { told = append(told, r.Err) })
	require.Len(t, told, 1)
	bad, ok = errors.AsType[*producer.EncodeError](told[0])
	require.True(t, ok)
	require.Equal(t, "value", bad.Part)
	require.Equal(t, 1, panics)
	_, err = producer.For(p, "t", fail, fail).Delete(t.Context(), "x")
	require.ErrorIs(t, err, no)
	require.Empty(t, s.seen())
}

func TestIntegersAreBigEndianAsKafkasSerializers(t *testing.T) {
	var at producer.Envelope
	for want, f := range map[string]func() ([]byte, error){
		"\xff\xff\xff\xfe":                 func() ([]byte, error) { return producer.Int32(nil, -2, &at) },
		"\xff\xff\xff\xff\xff\xff\xff\xfd": func() ([]byte, error) { return producer.Int64(nil, -3, &at) },
		"\x00\x00\x00\x04":                 func() ([]byte, error) { return producer.Uint32(nil, 4, &at) },
		"\x00\x00\x00\x00\x00\x00\x00\x05": func() ([]byte, error) { return producer.Uint64(nil, 5, &at) },
		"\x3f\xf8\x00\x00\x00\x00\x00\x00": func() ([]byte, error) { return producer.Float64(nil, 1.5, &at) },
	} {
		got, err := f()
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		require.False(t, at.Null)
	}
}
