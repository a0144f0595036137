package partition

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A snapshot of the journal is the catalogue encoded; so what the events amount to must survive encoding at any point.
func TestCatalogueSurvivesSnapshotAtAnyPoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCatalogue()
		names := []string{"a", "b", "c.d"}
		apply := func(kind uint8, f func(*encoder)) {
			var e encoder
			f(&e)
			require.NoError(t, c.apply(kind, e.buf))
			restored := newCatalogue()
			require.NoError(t, restored.restore(c.encode()))
			require.Equal(t, c.canonical(), restored.canonical())
			*c = *restored
		}
		apply(eventFormatted, func(e *encoder) { e.id(TopicID{1}); e.id(TopicID{2}) })
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			name := rapid.SampledFrom(names).Draw(t, "topic")
			ct := c.topics[name]
			if ct == nil {
				apply(eventTopicCreated, func(e *encoder) {
					e.topic(&catTopic{name: name, id: newUUID(), overrides: map[string]string{"k": "v"}, parts: make([]catPart, rapid.IntRange(1, 5).Draw(t, "n"))})
				})
				continue
			}
			m := mark{id: ct.id, partition: int32(len(ct.parts) - 1), offset: Offset(rapid.Int64Range(0, 1<<40).Draw(t, "offset"))}
			switch rapid.IntRange(0, 8).Draw(t, "kind") {
			case 0:
				apply(eventTopicDeleted, func(e *encoder) { e.id(ct.id) })
			case 1:
				apply(eventTopicConfigured, func(e *encoder) { e.id(ct.id); e.strings(map[string]string{"x": "1", "y": ""}) })
			case 2:
				apply(eventTopicGrown, func(e *encoder) { e.id(ct.id); e.int(int64(len(ct.parts) + 2)) })
			case 3:
				apply(eventProducerIDs, func(e *encoder) { e.int(c.nextID + idBlockSize) })
			case 4:
				apply(eventLogStart, func(e *encoder) { e.mark(m) })
				require.GreaterOrEqual(t, c.topics[name].parts[m.partition].logStart, m.offset)
			case 5:
				apply(eventRecoveryPoints, func(e *encoder) { e.int(1); e.mark(m) })
			case 6:
				apply(eventClosed, func(e *encoder) { e.int(1); e.mark(m) })
				require.True(t, c.clean)
				require.Equal(t, m.offset, c.topics[name].parts[m.partition].end)
			case 7:
				before := ct.epoch
				apply(eventOpened, func(e *encoder) { e.int(c.incarnation + 1); e.bool(true) })
				require.Equal(t, before+1, c.topics[name].epoch, "an unclean open raises every epoch")
				require.False(t, c.clean)
			case 8:
				for id := range c.deleted {
					apply(eventTopicPurged, func(e *encoder) { e.id(id) })
				}
			}
		}
	})
}

// canonical is the state in a form that can be compared.
func (c *catalogue) canonical() catalogue {
	d := *c
	d.topics = map[string]*catTopic{}
	for name, t := range c.topics {
		u := *t
		u.parts = append([]catPart{}, t.parts...)
		if len(u.overrides) == 0 {
			u.overrides = nil
		}
		u.created = u.created.UTC().Truncate(1e6)
		d.topics[name] = &u
	}
	return d
}

func TestCatalogueRefusesAnImpossibleEventUnchanged(t *testing.T) {
	c := newCatalogue()
	var e encoder
	e.topic(&catTopic{name: "a", id: TopicID{9}, parts: make([]catPart, 2)})
	require.NoError(t, c.apply(eventTopicCreated, e.buf))
	before := c.canonical()
	require.Error(t, c.apply(eventTopicCreated, e.buf), "twice")
	require.ErrorIs(t, c.apply(200, nil), ErrNewerFormat)
	require.Error(t, c.apply(eventTopicDeleted, make([]byte, 16)), "unknown id")
	require.Error(t, c.apply(eventTopicDeleted, nil), "too short")
	var shrink encoder
	shrink.id(TopicID{9})
	shrink.int(1)
	require.Error(t, c.apply(eventTopicGrown, shrink.buf))
	require.Equal(t, before, c.canonical())
	require.ErrorIs(t, c.restore([]byte{4}), ErrNewerFormat)
}

func FuzzCatalogueEvent(f *testing.F) {
	var e encoder
	e.topic(&catTopic{name: "orders", id: TopicID{1}, overrides: map[string]string{"a": "b"}, parts: make([]catPart, 3)})
	f.Add(eventTopicCreated, e.buf)
	f.Add(eventRecoveryPoints, []byte{2, 1, 2, 3})
	f.Add(eventClosed, []byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		c := newCatalogue()
		require.NoError(t, c.apply(eventTopicCreated, e.buf))
		_ = c.apply(kind, payload)
		_ = newCatalogue().restore(payload)
		require.NoError(t, newCatalogue().restore(c.encode()))
	})
}

func FuzzTopicName(f *testing.F) {
	f.Add("orders")
	f.Add("..")
	f.Add("a/b")
	f.Fuzz(func(t *testing.T, name string) {
		if validTopicName(name) == nil {
			require.Regexp(t, `^[a-zA-Z0-9._-]{1,249}$`, name)
			require.NotContains(t, []string{".", ".."}, name)
		}
	})
}
