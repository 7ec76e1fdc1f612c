/** Letters of curl's short options that take a value; whatever follows one in the same word is that value. */
const SHORT = /^-[^-AbcCdDeEFHKmoPQrtTuUwxXyYz]*[AbcCdDeEFHKmoPQrtTuUwxXyYz]$/;

/** Long options whose value may begin with a slash: a file, a target, a text. */
const LONG =
  /^--(?:alt-svc|cacert|capath|cert|config|cookie|cookie-jar|data(?:-ascii|-binary|-raw|-urlencode)?|dump-header|etag-compare|etag-save|form(?:-string)?|header|hsts|json|key|netrc-file|output|output-dir|referer|request-target|stderr|trace|trace-ascii|unix-socket|upload-file|url-query|user-agent|write-out)$/;

/**
 * Words for curl in which a path is the URL that it stands for. The value of an option is no path: `-o /dev/null` is a file.
 * @param url without a slash at the end
 */
export function curlWords(words: readonly string[], url: string): readonly string[] {
  return words.map((word, index) => {
    const before = words[index - 1] ?? '';
    return word.startsWith('/') && !SHORT.test(before) && !LONG.test(before) ? `${url}${word}` : word;
  });
}
