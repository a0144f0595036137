package partition

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTopicsWithoutCleanupNeitherExpireNorAreCompacted(t *testing.T) {
	s, err := OpenMemory(Config{})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.CreateTopic(context.Background(), "kept", TopicConfig{CleanupPolicy: CleanupNone, RetentionAge: Zero, RetentionBytes: Zero})
	require.NoError(t, err)
	now, err := s.lookup("kept")
	require.NoError(t, err)
	st := now.settings.Load()
	require.False(t, st.expires)
	require.False(t, st.compacted)
	require.NoError(t, s.AlterTopicConfig(context.Background(), "kept", map[string]string{"cleanup.policy": "delete"}))
	require.True(t, now.settings.Load().expires, "with the same retention")
}
