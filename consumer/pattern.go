package consumer

import (
	"context"
	"regexp"
)

// compilePattern compiles a Config.Pattern, which is to match a whole name, as in Kafka's client; nil for none.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, nil
	}
	if _, err := regexp.Compile(pattern); err != nil { // by itself: what is put around it could make it whole
		return nil, err
	}
	return regexp.Compile(`^(?:` + pattern + `)$`)
}

// matching returns the topics that match the pattern, by name. Internal ones never do.
func matching(ctx context.Context, s Source, pattern *regexp.Regexp) ([]string, error) {
	metadata, err := s.Metadata(ctx, nil)
	if err != nil {
		return nil, err
	}
	var topics []string
	for _, m := range metadata {
		if m.Err == nil && !m.Internal && pattern.MatchString(m.Topic) {
			topics = append(topics, m.Topic)
		}
	}
	return topics, nil
}

// subscription returns the topics that the member subscribes to at this moment.
func (m *member) subscription(ctx context.Context) ([]string, error) {
	if m.pattern == nil {
		return m.consumer.config.Topics, nil
	}
	return matching(ctx, m.consumer.source, m.pattern)
}
