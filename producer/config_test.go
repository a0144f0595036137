package producer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

func TestConfigOutOfRangeNamesFieldValueAndRange(t *testing.T) {
	for field, c := range map[string]struct {
		config producer.Config
		value  string
	}{
		"Acks":                {producer.Config{Acks: 7}, "Acks(7)"},
		"Compression":         {producer.Config{Compression: 9}, "9"},
		"TopicCompression[x]": {producer.Config{TopicCompression: map[string]partition.Codec{"x": -1}}, "-1"},
		"CompressionLevel":    {producer.Config{Compression: partition.CodecGzip, CompressionLevel: 10}, "10"},
		"Linger":              {producer.Config{Linger: -1}, "-1ns"},
		"BatchBytes":          {producer.Config{BatchBytes: -1}, "-1"},
		"BufferMemory":        {producer.Config{BufferMemory: -5}, "-5"},
		"MaxBlock":            {producer.Config{MaxBlock: -time.Second}, "-1s"},
		"MaxInFlight":         {producer.Config{MaxInFlight: 6}, "6"},
		"DeliveryTimeout":     {producer.Config{DeliveryTimeout: time.Second, Linger: time.Minute}, "1s"},
		"RetryBackoff":        {producer.Config{RetryBackoff: -1}, "-1ns"},
		"RetryBackoffMax":     {producer.Config{RetryBackoffMax: time.Millisecond}, "1ms"},
		"MetadataMaxAge":      {producer.Config{MetadataMaxAge: -1}, "-1ns"},
		"Senders":             {producer.Config{Senders: -1}, "-1"},
	} {
		t.Run(field, func(t *testing.T) {
			_, err := producer.New(memory(t), c.config)
			require.ErrorIs(t, err, partition.ErrInvalidConfig)
			bad, ok := errors.AsType[*partition.ConfigError](err)
			require.True(t, ok)
			require.Equal(t, field, bad.Key)
			require.Equal(t, c.value, bad.Value)
			require.NotEmpty(t, bad.Range)
		})
	}
}

func TestConfigsThatAreValid(t *testing.T) {
	for _, c := range []producer.Config{
		{},
		{MaxInFlight: 5},
		{MaxInFlight: 50, DisableIdempotence: true},
		{Linger: time.Hour}, // raises the default of DeliveryTimeout
		{Compression: partition.CodecZstd, CompressionLevel: -7},
		{BatchBytes: 1, BufferMemory: 1000},
	} {
		p, err := producer.New(memory(t), c)
		require.NoError(t, err)
		require.NoError(t, p.Close())
	}
}

func TestWithoutIdempotenceBatchesCarryNoProducerID(t *testing.T) {
	c := soon
	c.DisableIdempotence = true
	p, s, store := start(t, 1, c)
	s.after = func(n int, _ partition.AppendRequest, _ error) error {
		if n == 1 {
			return partition.ErrTimeout
		}
		return nil
	}
	_, err := p.Send(t.Context(), value("x"))
	require.NoError(t, err)
	require.EqualValues(t, -1, s.seen()[0].id.ID)
	require.EqualValues(t, -1, s.seen()[0].seq)
	require.Equal(t, []string{"x", "x"}, values(t, store, 0), "that is what it means")
}
