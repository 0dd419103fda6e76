// The Mixtral paper's repetition, which the data has if the run's model is Mixtral.

/** Return [place, share] of every published value. */
function publishedPoints(name) {
  if (!data.published?.[name]) return [];
  return data.published[name].flatMap((corpus) =>
    corpus
      .map((share, at) => [data.indices.indexOf(data.published.layers[at]), share])
      .filter(([place]) => place >= 0),
  );
}
