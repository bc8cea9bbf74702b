/** Takes an applied update back. */
export type Undo = () => void;
